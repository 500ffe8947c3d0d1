"""A release: tiers moved one after the other, and the plan of what that would do."""
