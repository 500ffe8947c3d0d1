"""Rules about several hops."""
