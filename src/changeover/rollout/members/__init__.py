"""The instances of one tier: the phase table, the fleet, what each of them does next."""
