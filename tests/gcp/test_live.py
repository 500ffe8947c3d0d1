"""One roll on Google Cloud itself, for users with a project; skipped elsewhere. docs/gcp.md has its cost and clean-up.

It uses a chain that exists, such as one that `render gcp` has made, and creates no resource of its own. With
CHANGEOVER_GCP_URL the probe sends requests there during both rolls, and a broken one fails the test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT, CHAIN = os.environ.get("CHANGEOVER_GCP_PROJECT"), os.environ.get("CHANGEOVER_GCP_CHAIN", "chain.yaml")
URL = os.environ.get("CHANGEOVER_GCP_URL", "")
DEADLINE = 3600
"""Seconds for a command: a VM boots, and its backend service drains for minutes."""
Run = Callable[..., str]


@pytest.mark.skipif(not PROJECT, reason="CHANGEOVER_GCP_PROJECT names no project")
@pytest.mark.timeout(6 * DEADLINE)
def test_a_tier_on_google_cloud_is_rolled_and_rolled_back(tmp_path: Path) -> None:
    file = Path(CHAIN).resolve()
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert document["platform"]["project"] == PROJECT, f"{file} is of another project"
    tier = next(one for one in document["tiers"] if len(one["templates"]) > 1)["name"]

    def changeover(*words: str) -> str:
        command = [sys.executable, "-m", "changeover", *words, "--state", str(tmp_path / "state")]
        if words[0] == "roll" and URL:
            command = [sys.executable, "-m", "changeover", "probe", URL, "--", *command]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert ran.returncode == 0, f"{command}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    changeover("doctor", "-f", str(file))
    changeover("up", "-f", str(file))
    try:
        first = _template(changeover, tier)
        second = next(name for name in _templates(document, tier) if name != first)
        for goal in (second, first):
            changeover("roll", tier, "--to", goal, "-f", str(file))
            assert _template(changeover, tier) == goal
    except BaseException:
        subprocess.run(  # a chain in the middle of a roll is not released
            [sys.executable, "-m", "changeover", "abort", "--state", str(tmp_path / "state")],
            timeout=DEADLINE,
            check=False,
        )
        raise
    finally:
        changeover("down")


def _templates(document: dict[str, Any], tier: str) -> list[str]:
    return next(list(one["templates"]) for one in document["tiers"] if one["name"] == tier)


def _template(changeover: Run, tier: str) -> str:
    """The template that the tier runs."""
    tiers = json.loads(changeover("status", "--json"))["tiers"]
    return next(str(one["template"]) for one in tiers if one["name"] == tier)
