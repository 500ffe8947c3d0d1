"""The two ways of a request through the relay: streamed, or sent in segments."""
