"""Traffic during a rollout, one ledger row for every request, and a verdict in absolute counts.

The probe sends GETs at a fixed rate and uploads at the pace of a slow client, and reads each upload back through
another instance. It retries nothing, so a request that a client would have lost counts as lost. It knows one URL and
nothing about the rollout.
"""
