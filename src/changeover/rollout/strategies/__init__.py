"""How a tier gets from one template to another: a strategy reads the fleet and names the next moves."""
