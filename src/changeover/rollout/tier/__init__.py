"""The state of one tier, what may be asked of it, and how it changes."""
