"""After `down` nothing is left, whatever had died before."""

from __future__ import annotations

import signal

import pytest
from tests.chain.chains import Chain, kill, running_in, until


@pytest.mark.parametrize(
    "victims",
    [("haproxy",), (" keep ", "haproxy", "nginx: master", "envoy", "changeover.example_app")],
    ids=["HAProxy", "everything but nginx workers"],
)
def test_nothing_is_left_although_something_had_died(chain: Chain, victims: tuple[str, ...]) -> None:
    chain.up()
    kill_all(chain, *victims)
    chain.down()
    assert running_in(chain.folder) == {}


def kill_all(chain: Chain, *victims: str) -> None:
    """Kill every process of the chain that has one of these in its command line."""
    for victim in victims:
        pids = [pid for pid, command in running_in(chain.state).items() if victim in command]
        assert pids, victim
        for pid in pids:
            kill(pid)


def test_nothing_is_left_of_commands_that_were_killed_and_of_what_died_then(chain: Chain) -> None:
    starting = chain.start("up", "-f", chain.file)
    starting.says(" warming ")
    starting.signal(signal.SIGKILL).end()
    assert running_in(chain.state)
    chain.up()  # over what the first one left
    assert chain.get().status_code == 200
    roll = chain.start("roll", "edge", "--to", "v2")
    until(lambda: list((chain.state / "instances").glob("edge-v2-*")), "a new instance")
    roll.signal(signal.SIGKILL).end()
    kill_all(chain, " keep ", "nginx: master")
    chain.down()
    assert running_in(chain.folder) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_up_that_was_stopped(chain: Chain, number: signal.Signals) -> None:
    starting = chain.start("up", "-f", chain.file)
    starting.says(" warming ")
    starting.signal(number).end()
    if number is signal.SIGKILL:
        chain.down()
    assert running_in(chain.folder) == {}
