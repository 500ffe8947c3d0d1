"""`validate` of a chain on Google Cloud: nothing of it is on this machine, and its groups have the sizes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from changeover import chain_files
from changeover.cli.rendering.validation import data, picture
from changeover.cli.validation import of_machine


def test_neither_addresses_nor_sizes_of_this_machine_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "chain.yaml"
    tiers: list[dict[str, Any]] = [
        {"name": "edge", "kind": "nginx", "group": "edge", "backend_services": ["edge"], "size": 3},
        {"name": "run", "kind": "app", "group": "run", "backend_services": ["run"]},
    ]
    platform = {"kind": "gcp", "project": "shop", "region": "europe-west1"}
    chain = {
        "platform": platform,
        "listen": "203.0.113.7:443",
        "tiers": [{**tier, "templates": {"v1": {"instance_template": "a"}}} for tier in tiers],
    }
    file.write_text(json.dumps(chain))
    parsed = chain_files.read_chain(file)[0].chain
    findings = asyncio.run(of_machine(file))
    assert picture(file, parsed, findings) == f"{file}: valid. chain: edge (3 x nginx) -> run (app)"
    assert [tier["size"] for tier in data(file, parsed, findings)["tiers"]] == [3, None]
