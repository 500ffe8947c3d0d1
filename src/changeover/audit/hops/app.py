"""Application servers as hops: gunicorn, uvicorn, hypercorn and granian, by their command lines and settings.

Defaults are those of gunicorn 25, uvicorn 0.54, hypercorn 0.18 and granian 2.8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from changeover.audit.assumptions import Assumptions
from changeover.audit.commands import Command, commands
from changeover.audit.setting import Setting, unknown
from changeover.audit.starts import SERVERS
from changeover.audit.view import Address, Hop
from changeover.conf.document import Document
from changeover.conf.gunicorn import GunicornFile, PythonValue
from changeover.conf.place import Place

Value = TypeVar("Value")
OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "gunicorn": {
        "graceful": ("--graceful-timeout",),
        "timeout": ("-t", "--timeout"),
        "idle": ("--keep-alive",),
        "class": ("-k", "--worker-class"),
        "workers": ("-w", "--workers"),
        "threads": ("--threads",),
        "bind": ("-b", "--bind"),
    },
    "uvicorn": {
        "graceful": ("--timeout-graceful-shutdown",),
        "idle": ("--timeout-keep-alive",),
        "workers": ("--workers",),
        "port": ("--port",),
        "socket": ("--uds",),
    },
    "hypercorn": {
        "graceful": ("--graceful-timeout",),
        "idle": ("--keep-alive",),
        "workers": ("-w", "--workers"),
        "bind": ("-b", "--bind"),
    },
    "granian": {"graceful": ("--workers-kill-timeout",), "workers": ("--workers",), "port": ("--port",)},
}
_GRACEFUL = {"gunicorn": 30.0, "uvicorn": float("inf"), "hypercorn": 3.0, "granian": float("inf")}
_IDLE = {"gunicorn": 2.0, "uvicorn": 5.0, "hypercorn": 5.0, "granian": 30.0}
_PORTS = {"gunicorn": 8000, "uvicorn": 8000, "hypercorn": 8000, "granian": 8000}
_DEFAULT = re.compile(r"\$\{\w+:?-([^${}]*)\}")
"""A variable of a shell or of compose with its default, as `os.getenv` has one in settings."""
_CONFIG = ("-c", "--config")
_KEYS = {
    "graceful": "graceful_timeout",
    "timeout": "timeout",
    "idle": "keepalive",
    "class": "worker_class",
    "workers": "workers",
    "threads": "threads",
    "bind": "bind",
}


@dataclass(frozen=True)
class App(Hop):
    """`timeout` is gunicorn's, within which a sync worker must finish a request. `object` is what starts it.

    `graceful_key`: how its command or its settings file writes the graceful timeout, with `{}` for the seconds.
    """

    graceful: Setting[float]
    graceful_key: str
    timeout: Setting[float]
    worker_class: Setting[str]
    workers: Setting[float]
    object: str


def hops(documents: Sequence[Document], asked: Assumptions) -> Iterator[Hop]:
    """A hop for each command that starts a server, and one for settings of gunicorn that no command names."""
    files = [one for one in documents if isinstance(one, GunicornFile)]
    starts = [one for one in commands(documents) if one.software in SERVERS]
    used: set[str] = set()
    for start in starts:
        named = [one for one in files if start.software == "gunicorn" and _names(start, one)]
        named.sort(key=lambda one: one.file not in start.arguments)  # of several of one name, the one that it names
        used.update(one.file for one in named)
        given = _option(start.arguments, _CONFIG) if start.software == "gunicorn" and not named else None
        missing = f"its settings file {given}" if given is not None else ""
        yield _app(start.software or "", start, named[0].values if named else {}, start.at, missing)
    for file in files:
        if file.file not in used:
            yield _app("gunicorn", None, file.values, Place(file.file, 1))


def _names(start: Command, file: GunicornFile) -> bool:
    name = file.file.rsplit("/", 1)[-1]
    given = _option(start.arguments, _CONFIG)
    return (
        given is not None and given.rsplit("/", 1)[-1].removeprefix("python:") in {name, name.removesuffix(".py")}
    ) or (given is None and name == "gunicorn.conf.py")


def _app(server: str, start: Command | None, values: Mapping[str, PythonValue], place: Place, missing: str = "") -> App:
    reading = _Reading(server, start, values, place, missing)
    kind = reading.word("class", "sync", "sync")
    threads = reading.number("threads", 1.0, "1")
    if kind.value == "sync" and (threads.value or 1) > 1:
        kind = Setting("gthread", threads.place, f"{threads.text}: more than one makes it gthread")
    idle = reading.number("idle", _IDLE[server], f"{_IDLE[server]:g}")
    if server == "gunicorn" and kind.value == "sync":
        idle = Setting(0.0, kind.place, f"{kind.text}: it keeps no connection")
    limit = _GRACEFUL[server]
    graceful = reading.number("graceful", limit, "without a limit" if limit == float("inf") else f"{limit:g}")
    return App(
        f"{server} of {start.object if start else place.file}",
        server,
        place,
        tuple(reading.listens()),
        (),
        idle,
        Setting(False, place, "an application server receives what arrives"),
        graceful,
        reading.written("graceful"),
        reading.number("timeout", 30.0, "30"),
        kind,
        reading.number("workers", 1.0, "1"),
        start.object if start else place.file,
    )


@dataclass(frozen=True)
class _Reading:
    server: str
    start: Command | None
    values: Mapping[str, PythonValue]
    place: Place
    missing: str
    """What may set a key that the given files do not set."""

    def word(self, key: str, default: str, shown: str) -> Setting[str]:
        found = self._given(key)
        if found is None:
            return self._absent(key, default, shown)
        value, text, place = found
        if value is None:
            return unknown(place, text, f"the value of {self._name(key)}")
        return Setting(str(value), place, text)

    def number(self, key: str, default: float, shown: str) -> Setting[float]:
        found = self._given(key)
        if found is None:
            return self._absent(key, default, shown)
        value, text, place = found
        try:
            return Setting(float(value if value is not None else "no"), place, text)
        except ValueError:
            return unknown(place, text, f"the value of {self._name(key)} as a number")

    def _absent(self, key: str, default: Value, shown: str) -> Setting[Value]:
        if self.missing:
            return unknown(self.place, f"{self._name(key)} is not in the given files", self.missing)
        return Setting(default, self.place, f"{self._name(key)} is not set, so it is {shown}")

    def listens(self) -> Iterator[Address]:
        bind, port, socket = (self._given(key) for key in ("bind", "port", "socket"))
        if socket is not None:
            yield Address(f"unix:{socket[0]}", None)
            return
        if bind is not None and bind[0] is None:
            return
        text = str(bind[0]) if bind else ""
        if text.startswith("unix:"):
            yield Address(text, None)
            return
        number = text.rpartition(":")[2] if text else str(port[0]) if port else str(_PORTS[self.server])
        if number.isdigit():
            yield Address("*", int(number))
            yield from (Address(host, int(number)) for host in (self.start.hosts if self.start else ()))

    def _given(self, key: str) -> tuple[str | float | None, str, Place] | None:
        """The command line overrides the settings file."""
        names = OPTIONS[self.server].get(key, ())
        if self.start is not None and (value := _option(self.start.arguments, names)) is not None:
            default = _DEFAULT.fullmatch(value)
            read = default[1] if default else None if "$" in value else value
            return read, f"{names[-1]} {value}", self.start.at
        found = self.values.get(_KEYS.get(key, "")) if self.server == "gunicorn" else None
        return (found.value, found.text, found.place) if found is not None else None

    def written(self, key: str) -> str:
        """How the file that decides writes a value, with `{}` in its place."""
        option = OPTIONS[self.server][key][-1]
        given = self.start is not None and _option(self.start.arguments, (option,)) is not None
        of_file = self.start is None or (_KEYS[key] in self.values and not given)
        return f"{_KEYS[key]} = {{}}" if of_file else f"{option} {{}}"

    def _name(self, key: str) -> str:
        names = OPTIONS[self.server].get(key, (key,))
        return names[-1] if self.start is not None else _KEYS.get(key, key)


def _option(arguments: Sequence[str], names: Sequence[str]) -> str | None:
    """The value of the last such option: `--timeout 5`, `--timeout=5`, `-t5`."""
    found = None
    for number, word in enumerate(arguments):
        for name in names:
            if word == name and number + 1 < len(arguments):
                found = arguments[number + 1]
            elif name.startswith("--") and word.startswith(f"{name}="):
                found = word.partition("=")[2]
            elif not name.startswith("--") and word.startswith(name) and len(word) > 2 and not word.startswith("--"):
                found = word[2:]
    return found
