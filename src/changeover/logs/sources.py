"""Where the logs of a chain are: a file for each instance, load balancer, keeper and detached command, and the journal.

What the controller decided is read from the journal, which has it after a crash too. A line without a readable time
stands where the log was seen to grow by it. One that no look saw arrive keeps its place after the line before it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import DISAGREEMENT, INTERRUPTION, REQUEST, LogEntry, RolloutRow
from changeover.kit.clock import utc
from changeover.logs.entries import BALANCER, CONTROLLER, KEEPER, PROGRESS, ROLL, Entry
from changeover.logs.reader import LogReader
from changeover.logs.times import time_of
from changeover.platforms.local.log_times import LogTimes
from changeover.platforms.local.logs import DETACHED

SLACK = 2.0
"""Seconds by which a line's time may be later than the last write to its file. A later one is no time of writing."""
HEAD = 200
"""Lines from the beginning of a log in which its first time is looked for."""
AT_ONCE = 1000
"""Lines of the journal that are read at once."""
_DETAILS = frozenset({"event", "command"})
"""Kinds of lines that are left out: each observation and each command, as `show` lists them."""
Created = Mapping[str, tuple[str, float]]
_DATED = re.compile(r"\S+Z  (?P<message>(?P<about>\S+)\s*(?P<rest>.*))")
"""A line in the format `dated`."""


class FileSource:
    """The log of one process. `created`: instance -> tier and time of its start, as far as they are known. `follow`: a
    last line without an end is not given before it has one."""

    def __init__(self, log: Path, source: str, created: Created, *, follow: bool = False) -> None:
        self._log, self._source, self._created, self._follow = log, source, created, follow
        self._reader = LogReader(log)
        self._at: float | None = None

    def close(self) -> None:
        self._reader.close()

    def entries(self, since: float, arrived: float | None = None) -> Iterator[Entry]:
        """The lines since the last call. `arrived`: the time of a look at a log that is followed. Raises OSError."""
        with suppress(FileNotFoundError):  # its folder is being deleted
            newest = self._log.stat().st_mtime
            if self._at is None:
                if newest < since:
                    return
                self._at = self._start(newest)
            yield from self._placed(self._at, since, arrived, newest)

    def _placed(self, at: float, since: float, arrived: float | None, newest: float) -> Iterator[Entry]:
        latest = (arrived or newest) + SLACK
        read = self._reader.lines(to_the_end=not self._follow)
        lines = ((line, end, _until(latest, time_of(line))) for line, end in read)
        head = list(itertools.islice(lines, HEAD))
        times = None
        if arrived is None:
            times = LogTimes(self._log)
            # A folder may be younger than its log: `log.1` is made in it.
            at = min([at, *(time for _, _, time in head if time is not None)][:2])
        for line, end, time in itertools.chain(head, lines):
            known = time
            if time is None:
                known = arrived if times is None else times.of(end)
            self._at = at = max(at, known or 0.0)
            if at >= since:
                yield self._entry(at, time, line)

    def _start(self, newest: float) -> float:
        if self._source == ROLL:
            return newest
        return self._created.get(self._source, ("", _started(self._log.parent)))[1]

    def _entry(self, at: float, time: float | None, line: str) -> Entry:
        if self._source in PROGRESS:
            return _of_command(at, time, self._source, line, self._created)
        if self._source == BALANCER:
            return Entry(at, time, BALANCER, line)
        return Entry(at, time, self._source, line, self._created.get(self._source, ("", 0.0))[0], self._source)


def _until(latest: float, time: float | None) -> float | None:
    return None if time is None or time > latest else time


def _started(folder: Path) -> float:
    """When the process of that folder was started: its configuration and its record are written then, or before."""
    times = [file.stat().st_mtime for file in folder.iterdir() if not file.name.startswith("log") and file.is_file()]
    return min(times, default=folder.stat().st_mtime)


def _of_command(at: float, time: float | None, source: str, line: str, created: Created) -> Entry:
    """A line of keeper or detached command, in any format of `--log-format`."""
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        line_of = json.loads(line)
        about = (line_of["tier"] or "", line_of["instance"] or "", line_of["rollout"])
        return Entry(at, time, source, str(line_of["message"]), *about, str(line_of["event"]), str(line_of["level"]))
    if (found := _DATED.fullmatch(line)) is None:
        return Entry(at, time, source, line)
    about_one = found["about"]
    if about_one in created:
        return Entry(at, time, source, found["rest"], created[about_one][0], about_one)
    if about_one in {tier for tier, _ in created.values()}:
        return Entry(at, time, source, found["rest"], about_one)
    return Entry(at, time, source, found["message"], level="error" if about_one == "error:" else "")


class JournalSource:
    """What controller and keeper decided, and how each rollout began and ended."""

    def __init__(self, journal: JournalReader) -> None:
        self._journal = journal
        self._seq = 0
        self._at = 0.0
        self._ended: set[int] = set()

    def entries(self, since: float) -> Iterator[Entry]:
        """What was written since the last call. Raises ChangeoverError."""
        new = [row for row in self._journal.rollouts() if row.ended is not None and row.id not in self._ended]
        self._ended |= {row.id for row in new}
        ends = sorted((one for one in map(_end, new) if one.at >= since), key=lambda one: one.at)
        while lines := self._journal.log_after(self._seq, since, AT_ONCE):
            for line in lines:
                self._seq = line.seq
                if line.kind not in _DETAILS:
                    self._at = max(self._at, _as_written(line.at))  # a line may be older than one before it
                    while ends and ends[0].at < self._at:
                        yield ends.pop(0)
                    yield _of_controller(self._at, line)
        yield from ends


def _of_controller(at: float, line: LogEntry) -> Entry:
    text = f"asked for by {line.text}" if line.kind == REQUEST else line.text
    level = "warning" if line.kind in (INTERRUPTION, DISAGREEMENT) else "info"
    time = _as_written(line.at)
    return Entry(at, time, CONTROLLER, text, line.tier, line.instance, line.rollout, line.kind, level)


def _end(row: RolloutRow) -> Entry:
    at = _as_written(row.ended or 0.0)
    level = "info" if row.outcome == "completed" else "warning"
    text = f"rollout {row.id} {row.outcome}" + (f": {row.reason}" if row.reason else "")
    return Entry(at, at, CONTROLLER, text, row.tier, "", row.id, "end", level)


def _as_written(at: float) -> float:
    """With milliseconds, as the keeper's log has it: the same moment is the same number."""
    return time_of(utc(at)) or at


class ChainLogs:
    """All logs of a state folder, also those that appear while they are followed."""

    def __init__(self, state: Path, journal: JournalReader, *, follow: bool = False) -> None:
        self._state, self._journal, self._follow = state, journal, follow
        self._controller = JournalSource(journal)
        self._created = journal.created()
        self._files: dict[Path, FileSource] = {}

    def close(self) -> None:
        for source in self._files.values():
            source.close()

    def names(self) -> set[str]:
        """Every name that can have lines: instances, tiers and sources."""
        instances = {log.parent.name for log in self._logs_of_instances()} | set(self._created)
        return {
            *instances,
            *(tier for tier, _ in self._created.values()),
            *self._journal.tiers(),
            CONTROLLER,
            KEEPER,
            ROLL,
            BALANCER,
        }

    def _logs_of_instances(self) -> Iterator[Path]:
        return (self._state / "instances").glob("*/log")

    def streams(self, since: float, arrived: float | None = None) -> list[Iterator[Entry]]:
        """The lines of each log since the last call, for `merged`. `arrived`: as of `FileSource.entries`."""
        logs = {log: log.parent.name for log in sorted(self._logs_of_instances())}
        logs |= {self._state / name / "log": name for name in (KEEPER, BALANCER)}
        logs[self._state / DETACHED] = ROLL
        if logs.keys() - self._files.keys():
            self._created |= self._journal.created()
        for log, name in logs.items():
            if log not in self._files:
                self._files[log] = FileSource(log, name, self._created, follow=self._follow)
        for gone in self._files.keys() - logs.keys():
            self._files.pop(gone).close()
        files = [source.entries(since, arrived) for source in self._files.values()]
        return [self._controller.entries(since), *files]
