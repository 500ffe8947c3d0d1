"""The engine: one upload's life, whichever protocol its client uses. Knows no HTTP and no kind of storage."""
