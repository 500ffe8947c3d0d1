"""Chains for tests. Starting one takes seconds, so tests that do not disturb each other share one.

Whatever a test did, its chain is taken down after it, and no process may be left in its folder.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.chain.chains import (
    EXAMPLE,
    Chain,
    Command,
    Said,
    chain_file,
    running_in,
    small,
    sticky,
    template,
    until,
)

TEMPLATES = (
    template("runtime", "never", command=["sleep", "1000"]),
    template("runtime", "dies", command=["sh", "-c", "echo no such table: reels >&2; exit 7"]),
    template("runtime", "missing", command=["/nowhere/server", "--port", "{port}"]),
    template("edge", "garbage", snippet="this_is_not nginx;"),
    template("l4", "garbage", snippet="proxy_pass nowhere;"),
)
"""Beside v1 and v2, which are good: templates that cannot be rolled to."""


@contextmanager
def own_chain(folder: Path, *changes: Callable[[Said], None], example: Path = EXAMPLE) -> Iterator[Chain]:
    """A chain that is not up yet. After the block it is down and nothing of it is left."""
    chain = Chain(folder, chain_file(folder, *changes, example=example))
    try:
        yield chain
    finally:
        if running_in(folder):
            chain.run("down")
        nothing_left(folder)


def nothing_left(folder: Path) -> None:
    """Insist that no process works in that folder. One that was killed a moment ago may still be going."""
    until(lambda: not running_in(folder), f"nothing running in {folder}, but: {running_in(folder)}")


@pytest.fixture(autouse=True)
def no_command_left_running() -> Iterator[None]:
    """A test that fails in the midst of a roll must not leave it to the next one, and none may forget one."""
    before = set(Command.running)
    yield
    left = Command.running - before
    for command in left:
        command.signal(signal.SIGKILL).end()
    assert not left


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A chain of the test's own, not up yet."""
    with own_chain(tmp_path) as chain:
        yield chain


@pytest.fixture(scope="session")
def resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain that is up and at v1, and that no test may change; its file has TEMPLATES too."""
    with own_chain(tmp_path_factory.mktemp("resting"), *TEMPLATES) as chain:
        chain.up()
        yield chain


@pytest.fixture(scope="session")
def rolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A chain that is up, rolled to and fro; every test leaves it whole, with each tier at v1 or at v2.

    Its clients stay at the instance of the runtime that their cookie names, and at a gateway by their address.
    """
    with own_chain(tmp_path_factory.mktemp("rolled"), sticky) as chain:
        chain.up()
        yield chain


@pytest.fixture(scope="session")
def two_tiers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A `small` chain that is up; every test leaves it whole, with the runtime at v1 or at v2."""
    with own_chain(tmp_path_factory.mktemp("two tiers"), small) as chain:
        chain.up()
        yield chain


@pytest.fixture
def traffic(two_tiers: Chain) -> Iterator[Command]:
    """GETs and slow uploads to it for as long as the test takes; not one of them may break."""
    uploads = ("--uploads", 4, "--upload-size", "1MB", "--upload-time", "800ms")
    probe = two_tiers.start("probe", "--rate", 50, "--connections", 4, *uploads, "--json")
    probe.says(" 4 in flight")
    yield probe
    done = probe.signal(signal.SIGTERM).end()
    assert done.code == 0, done
