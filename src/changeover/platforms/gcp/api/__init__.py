"""The Compute API, as far as a rollout needs it: calls, operations, groups, backend services, VMs, as plain data."""
