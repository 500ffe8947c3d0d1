"""Where a guard's samples come from: the probe's ledger, Prometheus, the routers. Refuses to judge what it measures."""
