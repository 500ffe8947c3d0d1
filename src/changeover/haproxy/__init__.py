"""What is known of HAProxy itself, whether a platform, a tier or a router outside of the chain is one."""
