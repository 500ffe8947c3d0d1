"""Traces of rollouts: spans from the journal, and OTLP over HTTP."""
