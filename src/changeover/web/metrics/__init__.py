"""`/metrics`: the figures of chains for Prometheus, from their state folders."""
