"""Rules about load balancers of Google Cloud."""
