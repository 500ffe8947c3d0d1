"""The runtime API and the health checks of HAProxy, for the platform, tiers and routers outside of the chain."""
