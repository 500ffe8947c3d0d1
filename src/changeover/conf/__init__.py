"""Readers of configuration: a text becomes a typed tree with file, line and column. Pure: refuses to read files."""
