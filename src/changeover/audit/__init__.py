"""Finds, from configuration alone, where a rollout would cut a request."""
