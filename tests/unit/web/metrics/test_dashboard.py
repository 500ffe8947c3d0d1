"""The dashboard of Grafana is made from its source, and asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

from tests.unit.web.metrics.test_alerts import ROOT

from changeover.web.metrics.definitions import METRICS, PREFIX

GRAFANA = ROOT / "monitoring/grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "changeover.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_dashboard_is_what_its_source_says() -> None:
    """Written anew by `python monitoring/grafana/build.py`."""
    assert runpy.run_path(str(GRAFANA / "build.py"))["dashboard"]() == DASHBOARD


def test_every_panel_asks_for_metrics_and_labels_that_there_are() -> None:
    for panel in PANELS:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            used = re.findall(rf"{PREFIX}(\w+?)(?:_bucket|_sum|_count)?(?:\{{(.*?)\}})?(?=[\[\s)]|$)", target["expr"])
            assert used, target
            for name, matchers in used:
                assert set(re.findall(r"(\w+)!?=", matchers)) <= set(METRICS[name].labels), target
            labels = {label for name, _ in used for label in METRICS[name].labels}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, target


def test_no_two_panels_lie_on_each_other() -> None:
    places: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & places, panel["title"]
        places |= cells
