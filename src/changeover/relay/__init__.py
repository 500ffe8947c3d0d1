"""The upload relay: takes plain requests, hands large bodies inward in segments, streams the rest through."""
