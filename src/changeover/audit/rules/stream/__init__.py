"""Rules about TCP hops of nginx."""
