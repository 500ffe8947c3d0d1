"""Envoy as a gateway that balances over the tier behind it, and takes changes of its members without a reload."""
