"""What `up` needs installed, before it starts anything. Real chains: tests/chain/test_up_status_down.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from changeover.cli.exits import COULD_NOT
from changeover.cli.main import cli

EXAMPLE = Path(__file__).parents[4] / "examples" / "01-four-tiers" / "chain.yaml"


@pytest.mark.parametrize(
    ("package", "key", "value", "message"),
    [
        ("envoy", "listen", "127.0.0.1:8443", "a tier of kind envoy needs the Python package envoy"),
        ("scipy", "guard", ["latency-not-worse"], "guard latency-not-worse of tier runtime needs the Python package"),
        ("uvicorn", "listen", "127.0.0.1:8443", "the example application needs the Python package uvicorn"),
        ("apprise", "notify", [{"url": "json://127.0.0.1:9"}], "`notify` needs the Python package apprise"),
    ],
)
def test_a_chain_that_needs_a_missing_extra_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, key: str, value: object, message: str
) -> None:
    chain = yaml.safe_load(EXAMPLE.read_text())
    if key == "guard":
        chain["tiers"][-1]["update"] = {"guard": value}
    else:
        chain[key] = value
    file = tmp_path / "chain.yaml"
    file.write_text(yaml.safe_dump(chain))
    monkeypatch.setitem(sys.modules, package, None)
    result = CliRunner().invoke(cli, ["up", "-f", str(file), "--state", str(tmp_path / "state")])
    assert result.exit_code == COULD_NOT
    printed = " ".join(result.stderr.split())
    assert message in printed
    assert "pip install 'changeover[" in printed
    assert not (tmp_path / "state" / "chain.yaml").exists()
    assert not list(tmp_path.glob("state/instances/*"))
