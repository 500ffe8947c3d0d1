"""The upload relay: sends large bodies of plain requests to the upstream in segments, and streams the rest."""
