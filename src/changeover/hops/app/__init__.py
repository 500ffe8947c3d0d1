"""The example application: the last tier of a chain."""
