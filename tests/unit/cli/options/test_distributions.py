from __future__ import annotations

import pytest
import typer

from changeover.cli.options.distributions import RATE, SIZE, TIME, Unit
from changeover.rollout.simulation.distributions import Constant, Distribution, LogNormal, Uniform


@pytest.mark.parametrize(
    ("unit", "text", "spread"),
    [
        (TIME, "10s", Constant(10.0)),
        (TIME, "0s", Constant(0.0)),
        (TIME, "500ms..1m30s", Uniform(0.5, 90.0)),
        (TIME, "10s~1.5", LogNormal(10.0, 1.5)),
        (SIZE, "50MB", Constant(50e6)),
        (SIZE, "1MB..2.5GB", Uniform(1e6, 2.5e9)),
        (RATE, "1MB/s~2", LogNormal(1e6, 2.0)),
        (RATE, "200kB/s..2MB/s", Uniform(2e5, 2e6)),
    ],
)
def test_a_spread_is_read_and_written_back(unit: Unit, text: str, spread: Distribution) -> None:
    assert unit.parse(text) == spread
    assert unit.spell(spread) == text
    assert unit.parse(spread) is spread


@pytest.mark.parametrize(
    ("unit", "text", "said"),
    [
        (TIME, "10", "a time with its unit"),
        (TIME, "5s..", "a time with its unit"),
        (TIME, "5s..1s", "HIGH at least LOW"),
        (TIME, "0s..1s", "LOW must be above 0"),
        (TIME, "5s~", "FACTOR a number of at least 1"),
        (TIME, "5s~0.5", "FACTOR a number of at least 1"),
        (TIME, "0s~2", "MEDIAN must be above 0"),
        (SIZE, "much", "a size is needed, such as 50MB"),
        (RATE, "0MB/s", "the rate must be above 0"),
    ],
)
def test_what_is_no_spread_is_refused_with_the_reason(unit: Unit, text: str, said: str) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        unit.parse(text)
