"""Whether a rollout may go on: samples in, a verdict out."""
