"""Frozen data that every room shares: the chain and its file, instances, quantities, errors. Refuses I/O and clocks."""
