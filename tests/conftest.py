"""How hard Hypothesis looks, and the order of the files when several workers run them.

Hypothesis: `fast` by default, `deep` with CHANGEOVER_HYPOTHESIS=deep, which `make fuzz` sets. `fast` draws the same
examples every time, so that a change is what makes it fail. Neither has a deadline: it would be one on how busy the
machine is.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests import order

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # one of several workers
        items.sort(key=lambda item: order.place(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.Scheduling:
    return order.Scheduling(config, log)
