"""Rules about machines and health checks of Google Cloud."""
