"""Writes changeover.json, a dashboard of Grafana, from dashboard.yaml: `python monitoring/grafana/build.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
WIDTH, HEIGHT = 8, 8
"""Of a panel, in Grafana's units: three stand side by side."""


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it. Its data source is a variable, so it fits every installation."""
    source: dict[str, Any] = yaml.safe_load((HERE / "dashboard.yaml").read_text(encoding="utf-8"))
    panels: list[dict[str, Any]] = []
    top = 0
    for row in source["rows"]:
        panels.append({"type": "row", "title": row["title"], "gridPos": _place(0, top, 24, 1)})
        for number, panel in enumerate(row["panels"]):
            place = _place(WIDTH * (number % 3), top + 1 + HEIGHT * (number // 3), WIDTH, HEIGHT)
            panels.append(_panel(panel, place))
        top += 1 + HEIGHT * -(-len(row["panels"]) // 3)
    for number, panel in enumerate(panels, start=1):
        panel["id"] = number
    return {
        "uid": "changeover",
        "title": source["title"],
        "schemaVersion": 39,
        "refresh": "5s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [_data_source(), *(_variable(*one) for one in source["variables"].items())]},
        "panels": panels,
    }


def _panel(panel: dict[str, Any], place: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "timeseries",
        "title": panel["title"],
        "datasource": {"type": "prometheus", "uid": "$datasource"},
        "fieldConfig": {"defaults": {"unit": panel["unit"]}, "overrides": []},
        "gridPos": place,
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expr, "legendFormat": legend}
            for number, (legend, expr) in enumerate(panel["queries"].items())
        ],
    }


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _data_source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "$datasource"}
    return {"name": name, "type": "query", "query": query, "datasource": source, "refresh": 2}


if __name__ == "__main__":
    (HERE / "changeover.json").write_text(json.dumps(dashboard(), indent=1) + "\n", encoding="utf-8")
