"""The upload relay as a tier: what stands behind it can be replaced while plain uploads are on their way."""
