"""Run commands and webhooks, and send notifications, at the points of a rollout."""
