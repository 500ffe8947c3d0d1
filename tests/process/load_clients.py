"""Load by clients that are no part of changeover: `wrk` and `ab -k`, until they are interrupted.

Both keep their connections and repeat no request. `wrk` counts a connection that ends under a request as an error; `ab`
does not count it, and so holds the slow requests here, whose responses it checks.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

MISSING = [name for name in ("wrk", "ab") if shutil.which(name) is None]
"""Programs that the load needs and this machine does not have."""

LONG = "1200"
"""Seconds after which they would end by themselves: longer than any test."""


@dataclass(frozen=True)
class Counted:
    """What a client reports. `lost`: requests that broke, and responses that are no success."""

    answered: int
    lost: int
    report: str

    def __str__(self) -> str:
        return f"{self.lost} lost of {self.answered}\n{self.report}"


class LoadClient(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def end(self) -> Counted: ...


class _Client:
    """A program that loads one URL and prints its report when it gets SIGINT."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def _report(self) -> str:
        self._process.send_signal(signal.SIGINT)
        return self._process.communicate(timeout=60)[0]


class Wrk(_Client):
    """Quick requests on four connections, with a pause of 10 ms between two of each, so that pools have idle ones."""

    def __init__(self, url: str, folder: Path) -> None:
        script = folder / "pause.lua"
        script.write_text("function delay() return 10 end\n")
        super().__init__(
            *("wrk", "--threads", "1", "--connections", "4", "--timeout", "30s"),
            *("--duration", f"{LONG}s", "--script", str(script), url),
        )

    def end(self) -> Counted:
        report = self._report()
        broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", report)
        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", report)
        lost = sum(map(int, broken.groups())) if broken else 0
        return Counted(_number(r"(\d+) requests in", report), lost + (int(wrong[1]) if wrong else 0), report)


class Ab(_Client):
    """Slow requests on two connections; versions may differ in length."""

    def __init__(self, url: str) -> None:
        super().__init__("ab", "-k", "-l", "-r", "-q", "-c", "2", "-s", "30", "-t", LONG, "-n", "1000000", url)

    def end(self) -> Counted:
        report = self._report()
        wrong = re.search(r"Non-2xx responses: +(\d+)", report)
        lost = _number(r"Failed requests: +(\d+)", report) + (int(wrong[1]) if wrong else 0)
        return Counted(_number(r"Complete requests: +(\d+)", report), lost, report)


def _number(pattern: str, report: str) -> int:
    found = re.search(pattern, report)
    assert found, report
    return int(found[1])
