"""The handler: called once for each complete upload; its response is stored and replayed."""
