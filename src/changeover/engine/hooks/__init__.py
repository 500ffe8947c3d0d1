"""Commands, webhooks and notifications at the points of a rollout."""
