"""Envoy as a gateway that knows the members of the tier behind it and is told of changes without a reload."""
