"""Sockets, pipes and buffers below asyncio."""
