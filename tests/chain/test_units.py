"""What the systemd units of a host run, without systemd: the commands of `render systemd`, after a power cut."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

from tests.chain.chains import ENVIRONMENT, Chain, chain_file, running_in, small, until


def command(chain: Chain, unit: str, key: str) -> list[str]:
    line = next(line for line in (chain.folder / "units" / unit).read_text().splitlines() if line.startswith(f"{key}="))
    return shlex.split(line.partition("=")[2])


def keeper_pid(chain: Chain) -> int | None:
    found: int | None = chain.status()["keeper_pid"]
    return found


def test_after_a_power_cut_the_units_bring_back_the_version_that_ran_and_one_keeper_that_may_be_restarted(
    chain: Chain,
) -> None:
    chain_file(chain.folder, small, name=chain.file.name)
    chain.up()
    chain.roll("runtime", "v2")
    chain.here("render", "systemd", "-f", chain.file, "--output", chain.folder / "units")
    (main,) = (one.name for one in (chain.folder / "units").glob("*.service") if "keeper" not in one.name)
    for pid in running_in(chain.folder):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not running_in(chain.folder) or None, "no process of the chain")
    chain.here("status", "--check", code=2)

    started = subprocess.run(command(chain, main, "ExecStart"), env={**os.environ, **ENVIRONMENT}, check=False)
    assert started.returncode == 0
    chain.edge_url = chain.status()["edge_url"]
    served = chain.serves("runtime", "v2")

    of_up = keeper_pid(chain)
    line = command(chain, main.replace(".service", "-keeper.service"), "ExecStart")
    for _ in range(2):  # again, as after a crash or an upgrade
        keeper = subprocess.Popen(line, cwd=chain.folder, env={**os.environ, **ENVIRONMENT}, start_new_session=True)
        until(lambda pid=keeper.pid: keeper_pid(chain) == pid or None, "the keeper of the unit")  # type: ignore[misc]
        assert of_up not in running_in(chain.folder)
        keeper.kill()
        keeper.wait()
        assert chain.serves("runtime", "v2") == served
    subprocess.run(command(chain, main, "ExecStop"), env={**os.environ, **ENVIRONMENT}, check=True)
    assert not running_in(chain.folder)
