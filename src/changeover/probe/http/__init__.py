"""Requests without retries over HTTP/1.1: a connection, an exchange on it, and the stream beneath."""
