"""The connection of a client: its requests, their bodies, the responses."""
