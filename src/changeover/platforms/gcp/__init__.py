"""Google Cloud: managed instance groups behind backend services, and an agent on every VM."""
