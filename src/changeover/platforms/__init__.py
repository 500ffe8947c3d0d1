"""Where instances and load balancers come from."""
