"""The application's handler: called once for each upload that is complete, its response stored and replayed."""
