"""The durable record of a chain, and the lease that makes its one writer."""
