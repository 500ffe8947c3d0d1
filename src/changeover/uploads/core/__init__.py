"""One upload from its creation to its completion, whichever dialect and store it uses."""
