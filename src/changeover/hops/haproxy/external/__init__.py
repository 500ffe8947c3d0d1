"""An HAProxy that stands outside of the chain, as the router of a tier: `router:` in a chain file."""
