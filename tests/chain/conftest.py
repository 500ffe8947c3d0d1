"""Chains for tests. Starting one takes seconds, so tests that do not disturb each other share one.

Whatever a test did, its chain is taken down after it, and no process may be left in its folder.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pytest
from tests.chain.chains import (
    EXAMPLE,
    Chain,
    Command,
    Done,
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

TRAFFIC = ("--rate", 50, "--connections", 8, "--uploads", 2, "--upload-size", "6MB", "--upload-time", "2s")
"""What the demos send: enough that every roll has an upload to wait for."""


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
    until(lambda: not running_in(folder), f"nothing running in {folder}, but: {running_in(folder)}", patience=3)


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


# -- the whole job ---------------------------------------------------------------------------------------------------


class Demo:
    """A `demo` that runs beside the tests, with a chain of its own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.folder = folder
        chain = Chain(folder, chain_file(folder))
        self._command = chain.start("demo", "-f", chain.file, "--json", *TRAFFIC, *more)

    @cached_property
    def done(self) -> Done:
        """What it left. Waits for its end."""
        return self._command.end()

    @property
    def told(self) -> Said:
        return self.done.json

    def close(self) -> None:
        """End it, if nobody has waited for its end, and see that it took down its chain."""
        if "done" not in self.__dict__:
            self._command.signal(signal.SIGTERM).end()
        nothing_left(self.folder)


@pytest.fixture(scope="session", autouse=True)
def demos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Demo]]:
    """The main job and its control, under way from the beginning, since they mostly wait. Their tests come last."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    options = {"careful": (), "naive": ("--naive",)}
    started = {name: Demo(tmp_path_factory.mktemp(name), *more) for name, more in options.items() if name in wanted}
    yield started
    for demo in started.values():
        demo.close()


@pytest.fixture
def careful(demos: Mapping[str, Demo]) -> Demo:
    """The main job: every tier rolled."""
    return demos["careful"]


@pytest.fixture
def naive(demos: Mapping[str, Demo]) -> Demo:
    """The control: every tier restarted the plain way."""
    return demos["naive"]
