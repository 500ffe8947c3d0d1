"""Performs what `rollout` decides: observes, writes down, acts. Knows hops, routers and platforms by their ports."""
