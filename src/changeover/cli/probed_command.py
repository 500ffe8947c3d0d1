"""`changeover probe ... -- COMMAND`: run any deploy command under traffic that is steady before and after it.

The command has the caller's environment, folder, input and output. It gets the signals that this program gets. Refuses
to start it unless the server answers every planned kind of request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from changeover.cli.exits import SIGNALLED
from changeover.kit.clock import Clock
from changeover.model.errors import fail
from changeover.model.units import human_seconds
from changeover.probe.records.row import LedgerRow
from changeover.probe.steady import SteadyWatch
from changeover.probe.verdict import Verdict

_LOOK = 0.05  # seconds between two looks at whether the traffic is steady
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass
class CommandRun:
    """One run of the command. Times in seconds since the epoch, None for what has not happened."""

    argv: tuple[str, ...]
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    steady_again: float | None = None
    broken_before: int = 0
    broken_during: int = 0
    broken_after: int = 0

    def saw(self, row: LedgerRow) -> None:
        """Count a broken request by the time of its failure."""
        if row.outcome == "ok":
            return
        if self.started is None or row.finished < self.started:
            self.broken_before += 1
        elif self.ended is None or row.finished <= self.ended:
            self.broken_during += 1
        else:
            self.broken_after += 1

    def to_dict(self) -> dict[str, object]:
        return {**asdict(self), "argv": list(self.argv)}

    @property
    def text(self) -> str:
        """`kubectl rollout restart: exit code 0 after 12.3s; broken requests: 0 before, 3 during, 0 after`."""
        assert self.started is not None
        assert self.ended is not None
        took = human_seconds(round(self.ended - self.started, 1))
        counts = f"{self.broken_before:,} before, {self.broken_during:,} during, {self.broken_after:,} after it"
        return f"{shlex.join(self.argv)}: exit code {self.exit_code} after {took}; broken requests: {counts}"


class ProbedCommand:
    """`say` prints a line of progress; `as_json`: the command's output goes to standard error."""

    def __init__(self, argv: Sequence[str], watch: SteadyWatch, say: Callable[[str], None], *, as_json: bool) -> None:
        if shutil.which(argv[0]) is None:
            raise fail(
                f"the command {argv[0]} cannot be run: no such program",
                state="No traffic was sent.",
                next="Name a program on PATH, or a file that is executable.",
            )
        self.run = CommandRun(tuple(argv))
        self._watch = watch
        self._say = say
        self._as_json = as_json
        self._process: asyncio.subprocess.Process | None = None
        self._interrupted = asyncio.Event()
        self._clock = Clock()

    def saw(self, row: LedgerRow) -> None:
        self._watch.saw(row)
        self.run.saw(row)

    async def under(self, traffic: asyncio.Task[Verdict], stop: asyncio.Event) -> Verdict:
        """Run the command while `traffic` runs, which ends after `stop` is set. Raises ChangeoverError."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._pass_on, number)
        try:
            self._say(f"waiting until the traffic is steady for {human_seconds(self._watch.hold)}")
            await self._wait_before(traffic)
            await self._execute()
            self._watch.begin(self._clock.now())
            self._say("waiting until the traffic is steady again")
            await self._wait_after(traffic)
            stop.set()
            return await traffic
        finally:
            traffic.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await traffic
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    async def _wait_before(self, traffic: asyncio.Task[Verdict]) -> None:
        watch = self._watch
        while not watch.is_steady(now := self._clock.now()):
            if traffic.done():
                traffic.result()
            if self._interrupted.is_set():
                raise fail("interrupted before the traffic was steady", state="The command was not run.")
            if watch.never_answers(now) or watch.too_late(now):
                seconds = human_seconds(round(now - watch.began, 1))
                raise fail(
                    f"the traffic was not steady within {seconds}: {watch.why()}",
                    state="The command was not run.",
                    next="Correct the URL, the paths or what the server must answer, and run the probe again.",
                )
            await self._look()

    async def _execute(self) -> None:
        run = self.run
        self._say(f"steady; running {shlex.join(run.argv)}")
        run.started = self._clock.now()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *run.argv, stdout=sys.stderr.fileno() if self._as_json else None
            )
        except OSError as error:
            raise fail(f"the command {run.argv[0]} cannot be run: {error.strerror}") from error
        code = await self._process.wait()
        run.exit_code = code if code >= 0 else SIGNALLED - code
        run.ended = self._clock.now()
        self._process = None
        self._say(f"the command ended with exit code {run.exit_code}")

    async def _wait_after(self, traffic: asyncio.Task[Verdict]) -> None:
        self._interrupted.clear()  # what arrived before went to the command
        while not (traffic.done() or self._interrupted.is_set() or self._watch.too_late(self._clock.now())):
            if self._watch.is_steady(now := self._clock.now()):
                self.run.steady_again = now
                return
            await self._look()

    async def _look(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await self._interrupted.wait()

    def _pass_on(self, number: int) -> None:
        self._interrupted.set()
        if self._process is not None and not (number in (signal.SIGINT, signal.SIGQUIT) and _terminal_sends()):
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _terminal_sends() -> bool:
    """Whether a terminal sends its signals to this process and the command alike, so that a second one is too many."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
