"""The software a tier runs, one folder each. No hop imports another."""
