from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from changeover.hops.envoy.stats import parse
from changeover.model.guard import RequestCounts
from changeover.ports import Unknown

RECORDED: Any = json.loads((Path(__file__).parent / "clusters.json").read_text())
"""Envoy 1.40 after 60 GETs over four instances: good, every fifth a 500, every fifth a reset, not listening."""


def test_every_instance_has_what_ended_on_it_by_its_name() -> None:
    assert parse(RECORDED, "runtime") == {
        "runtime-v1-1": RequestCounts(ok=26, broken=0),
        "runtime-v2-2": RequestCounts(ok=17, broken=4),
        "runtime-v2-3": RequestCounts(ok=13, broken=3),
        "runtime-v2-4": RequestCounts(ok=0, broken=0),
    }


def test_a_cluster_without_members_has_no_counts() -> None:
    assert parse({"cluster_statuses": [{"name": "runtime"}]}, "runtime") == {}
    assert parse(RECORDED, "other") == {}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"cluster_statuses": [{}]},
        {"cluster_statuses": [{"name": "runtime", "host_statuses": [{"stats": []}]}]},
        {"cluster_statuses": [{"name": "runtime", "host_statuses": [{"hostname": "a", "stats": []}]}]},
    ],
)
def test_what_is_no_statistics_is_unknown(document: Any) -> None:
    with pytest.raises(Unknown, match="not the statistics of an Envoy"):
        parse(document, "runtime")
