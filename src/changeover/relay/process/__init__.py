"""The relay as a process: config, listeners, admin address, hand-over of sockets."""
