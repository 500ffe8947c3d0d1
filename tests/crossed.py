"""All pairs of two lists of parameters, of which `make test` runs a few and `make fuzz` runs the rest as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest


def crossed(names: str, first: Sequence[Any], second: Sequence[Any]) -> pytest.MarkDecorator:
    """Parametrise by all pairs. By default a diagonal runs, so that each value of both lists runs at least once.

    Both lists hold `pytest.param(…, id=…)`; the values of a pair go to the arguments in `names`, in order.
    """
    shorter = min(len(first), len(second))
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(
                *one.values,
                *other.values,
                id=f"{one.id}-{other.id}",
                marks=() if i % shorter == j % shorter else pytest.mark.fuzz,
            )
            for i, one in enumerate(first)
            for j, other in enumerate(second)
        ],
    )
