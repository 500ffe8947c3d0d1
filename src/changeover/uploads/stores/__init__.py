"""Stores: the port (`store.py`) and one file for each implementation. A store knows no protocol and no engine."""
