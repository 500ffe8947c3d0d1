"""The proof: traffic during a rollout, one ledger row for every request, and a verdict in absolute counts.

Sends what clients send (GETs at a fixed rate, paced uploads that are read back through another instance) and
retries nothing: what a client would have lost is counted as lost. Refuses to know what is being rolled: it
sees one URL.
"""
