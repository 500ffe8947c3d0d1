"""Rolls every tier of a chain of servers so that no request in flight is broken, and proves it."""
