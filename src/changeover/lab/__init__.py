"""Demonstrates rules of the auditor: their examples are started for real, and requests are counted."""
