"""The two ways of a request through the relay: streamed, or handed over in segments."""
