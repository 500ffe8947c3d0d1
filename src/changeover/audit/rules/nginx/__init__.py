"""Rules about HTTP hops of nginx."""
