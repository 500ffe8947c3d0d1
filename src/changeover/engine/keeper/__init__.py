"""The keeper that stays behind after `up`."""
