"""The segments of an upload: their names, the lists of many of them, merges of small ones, and unnamed ones."""
