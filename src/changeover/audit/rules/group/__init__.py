"""Rules about managed instance groups of Google Cloud."""
