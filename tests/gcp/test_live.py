"""One roll on Google Cloud itself, for users with a project; skipped elsewhere. docs/gcp.md has its cost and clean-up.

It uses a chain that exists, such as one that `render gcp` has made, and creates no resource of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT, CHAIN = os.environ.get("CHANGEOVER_GCP_PROJECT"), os.environ.get("CHANGEOVER_GCP_CHAIN", "chain.yaml")
DEADLINE = 3600
"""Seconds for a command: a VM boots, and its backend service drains for minutes."""


@pytest.mark.skipif(not PROJECT, reason="CHANGEOVER_GCP_PROJECT names no project")
@pytest.mark.timeout(4 * DEADLINE)
def test_a_tier_on_google_cloud_is_rolled_and_rolled_back(tmp_path: Path) -> None:
    file = Path(CHAIN).resolve()
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert document["platform"]["project"] == PROJECT, f"{file} is of another project"
    tier = next(one for one in document["tiers"] if len(one["templates"]) > 1)
    first, second = list(tier["templates"])[:2]

    def changeover(*words: str) -> str:
        command = [sys.executable, "-m", "changeover", *words, "--state", str(tmp_path / "state")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert ran.returncode == 0, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    changeover("doctor", "-f", str(file))
    changeover("up", "-f", str(file))
    try:
        changeover("roll", tier["name"], "--to", second, "-f", str(file))
        changeover("roll", tier["name"], "--to", first, "-f", str(file))
        assert json.loads(changeover("status", "--json"))["tiers"]
    finally:
        changeover("down")
