"""The bytes of a client: the body of its request, and the response to it."""
