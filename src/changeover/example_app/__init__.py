"""The application of the examples: a user of the uploads library, like any other."""
