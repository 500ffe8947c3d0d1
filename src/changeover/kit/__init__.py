"""Helpers that know nothing of chains or rollouts and could be libraries of their own."""
