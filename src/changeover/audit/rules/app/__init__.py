"""Rules about application servers and how they are started."""
