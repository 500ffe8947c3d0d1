"""The report of rollouts and of the traffic beside them: one page that needs no network, and can be checked."""
