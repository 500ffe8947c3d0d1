"""Servers of the dialects: an ASGI application, and a server without ASGI."""
