"""Google Cloud: resources in one shape, whatever described them, and which belongs to which."""
