"""Dialects: one file for each protocol of clients. All of them use one engine and leave the same state."""
