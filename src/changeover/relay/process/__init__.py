"""The relay as a process: listeners, connections of clients, admin address, handoff of sockets."""
