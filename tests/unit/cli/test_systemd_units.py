"""The units of a production host. systemd itself checks them where its tool is installed; no test runs under it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli.systemd_units import Host, units

HOST = Host(
    chain="shop",
    user="root",
    command=("/usr/bin/env", "changeover"),
    file=Path("/srv/a shop/chain.yaml"),
    state=Path('/srv/a shop/50% "state" $HOME'),
    starts=200,
    stops=900,
    after=("haproxy.service",),
)


def keys(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_accepts_both_units(chain: StandingChain, tmp_path: Path) -> None:
    assert chain.run("render", "systemd", "--output", tmp_path / "rendered").code == 0
    for name, text in units(HOST).items():
        (tmp_path / name).write_text(text.replace("/srv/a shop", str(tmp_path)))
    for folder in (tmp_path, tmp_path / "rendered"):
        files = sorted(folder.glob("*.service"))
        assert len(files) == 2
        ran = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("name", list(units(HOST)))
def test_no_unit_kills_an_instance_when_its_own_process_ends_is_restarted_or_runs_out_of_memory(name: str) -> None:
    text = units(HOST)[name]
    assert (keys(text, "KillMode"), keys(text, "OOMPolicy")) == (["process"], ["continue"])
    assert keys(text, "LimitNOFILE") == ["65536"]


def test_the_chain_is_stopped_by_down_alone_and_a_chain_that_serves_degraded_is_not_started_again() -> None:
    chain, keeper = units(HOST).values()
    assert keys(chain, "ExecStop")[0].startswith("/usr/bin/env changeover down ")
    assert not keys(keeper, "ExecStop")
    assert (keys(chain, "Type"), keys(chain, "RemainAfterExit"), keys(chain, "SuccessExitStatus")) == (
        ["oneshot"],
        ["yes"],
        ["1"],
    )


def test_a_keeper_ends_for_good_when_the_chain_is_down_and_never_otherwise() -> None:
    chain, keeper = units(HOST).values()
    assert (keys(keeper, "Restart"), keys(keeper, "RestartPreventExitStatus")) == (["always"], ["0"])
    assert keys(chain, "Restart") == ["on-failure"]


def test_the_chain_starts_after_the_routers_outside_of_it_and_its_keeper_after_the_chain() -> None:
    chain, keeper = units(HOST).values()
    assert keys(chain, "After") == ["network-online.target haproxy.service"]
    assert keys(keeper, "After") == keys(keeper, "WantedBy") == ["changeover-shop.service"]


def test_systemd_replaces_nothing_in_the_paths() -> None:
    chain, _ = units(HOST).values()
    assert keys(chain, "ExecStart") == [
        '/usr/bin/env changeover up -f "/srv/a shop/chain.yaml" --state "/srv/a shop/50%% \\"state\\" $$HOME"'
    ]
    assert keys(chain, "WorkingDirectory") == ["/srv/a shop"]
