"""Rules about Kong."""
