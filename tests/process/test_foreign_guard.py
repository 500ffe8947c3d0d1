"""The comparison of old and new instances of an application that names its version in its pages, and no instance."""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGTERM

import yaml
from tests.chain.chains import Chain, running_in

SERVER = str(Path(__file__).with_name("faulty_start.py"))
P90 = {"name": "p90", "source": "probe", "measure": "latency", "against_baseline": True, "margin": 5, "interval": "1s"}


def test_a_slow_version_of_a_foreign_application_is_found_by_comparison(tmp_path: Path) -> None:
    """The condition of the shipped latency-not-worse, asked every second instead of every five."""
    tier = {
        "name": "web",
        "kind": "app",
        "templates": {way: {"command": [sys.executable, SERVER, "{port}", way]} for way in ("fine", "slow")},
        "health": {"path": "/healthz", "interval": "100ms"},
        "update": {
            "min_ready": "100ms",
            "progress_deadline": "60s",
            "guard": ["compared"],
            "strategy": "canary",
            "steps": [{"set_weight": 50}, {"analyse": "60s"}],
        },
    }
    probe = {"get": [{"path": "/"}], "rate": 100, "version_pattern": r"^(\w+): "}
    guards = [{"name": "compared", "conditions": [P90]}]
    file = tmp_path / "chain.yaml"
    file.write_text(yaml.safe_dump({"probe": probe, "guards": guards, "tiers": [tier]}, sort_keys=False))
    chain = Chain(tmp_path, file)
    try:
        chain.up()
        probing = chain.start("probe", "--json")
        probing.says("GET")
        undone = chain.roll("web", "slow", code=1)
        assert undone["outcome"] == "undone"
        assert undone["reason"].startswith("guard: compared/p90: p90 ")
        assert "of the baseline" in undone["reason"]
        assert probing.signal(SIGTERM).end(0).json["clean"]
    finally:
        if running_in(tmp_path):
            chain.run("down", code=None)
