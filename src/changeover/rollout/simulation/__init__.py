"""Rollouts in virtual time: the simulator, the rehearsal of a plan, and the distributions they draw from."""
