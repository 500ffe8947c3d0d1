"""Connections to the upstream, and what to send next on a handed-over upload."""
