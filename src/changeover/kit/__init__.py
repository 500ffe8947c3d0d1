"""Helpers that know nothing about chains or rollouts; each could be a library."""
