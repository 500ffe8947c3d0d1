"""How hard Hypothesis looks: `fast` by default, `deep` with CHANGEOVER_HYPOTHESIS=deep, which `make fuzz` sets.

`fast` draws the same examples every time, so that a change is what makes it fail. Neither has a deadline: it would be
one on how busy the machine is.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from changeover.kit import process

SLOW = [HealthCheck.too_slow]

settings.register_profile(
    "fast", max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=SLOW
)
settings.register_profile(
    "deep", max_examples=3000, stateful_step_count=80, deadline=None, print_blob=True, suppress_health_check=SLOW
)
process.ignore_no_signals()  # or commands under test that are interrupted would not notice, in a run begun with `&`
settings.load_profile(os.environ.get("CHANGEOVER_HYPOTHESIS", "fast"))
