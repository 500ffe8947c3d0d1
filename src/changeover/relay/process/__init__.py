"""The relay as a process: settings, listeners, admin address, hand-over of sockets."""
