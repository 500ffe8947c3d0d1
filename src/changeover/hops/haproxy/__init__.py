"""HAProxy as a tier: L7 or L4, generated or with a haproxy.cfg of the user's own."""
