"""Joins a chain file with one platform and the hops as they are there. `wiring` chooses, and joins the rest."""
