"""The chain file that `init` writes: an application behind the tiers that its author wants, with comments.

Pure. Refuses to guess how an unknown server takes its address: such a server gets it in HOST and PORT.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

import yaml

_SERVERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # Its idle connections end after 2 s by default, before those of the proxies in front, which loses requests.
        "gunicorn": ("--bind", "{host}:{port}", "--keep-alive", "65"),
        "uvicorn": ("--host", "{host}", "--port", "{port}"),
        "hypercorn": ("--bind", "{host}:{port}"),
        "granian": ("--host", "{host}", "--port", "{port}"),
        "waitress-serve": ("--listen={host}:{port}",),
        "flask": ("--host", "{host}", "--port", "{port}"),
        "fastapi": ("--host", "{host}", "--port", "{port}"),
        "http.server": ("--bind", "{host}", "{port}"),
    }
)
"""Server -> the words that give it its address."""

_KINDS: Mapping[str, tuple[str, tuple[str, ...], str]] = MappingProxyType(
    {
        "nginx": (
            "TLS and HTTP, with a test certificate",
            (
                "keepalive_time: 15s   # a client's connection closes after this, which bounds the drain of the edge",
                "upstream_keepalive_time: 5s   # the same for connections inward, for drains of the tier behind",
                "headers: {X-Edge-Version: v1}",
            ),
            "headers: {X-Edge-Version: v2}",
        ),
        "haproxy": (
            "TLS and HTTP, with a test certificate",
            (
                "keepalive_timeout: 15s   # an idle connection of a client closes after this, which bounds the drain",
                "headers: {X-Edge-Version: v1}",
            ),
            "headers: {X-Edge-Version: v2}",
        ),
        "envoy": (
            "balances over the application",
            (
                "upstream_idle_timeout: 3s   # below the keep-alive of the application",
                "headers: {X-Gateway-Version: v1}",
            ),
            "headers: {X-Gateway-Version: v2}",
        ),
        "kong": (
            "balances over the application",
            ("upstream_keepalive_timeout: 3s   # below the keep-alive of the application",),
            "retries: 2",
        ),
    }
)
"""Kind of tier -> comment, keys of the first template, and what the second changes."""


@dataclass(frozen=True)
class ChainWishes:
    """What the author of an application wants. `front`: tier -> kind, edge first. `port` 0: any free one."""

    name: str
    command: tuple[str, ...]
    front: Mapping[str, str]
    size: int
    ready: str
    port: int


def words_of(command: str) -> tuple[str, ...]:
    """A command line with the words that give the server its address, where it is known. Raises ValueError."""
    words = tuple(shlex.split(command))
    if not words:
        raise ValueError("the command is empty")
    if "{port}" in command:
        return words
    return (*words, *_SERVERS.get(_server(words), ()))


def _server(words: Sequence[str]) -> str:
    """The program, or the module that Python runs."""
    program = PurePath(words[0]).name
    if re.fullmatch(r"python[0-9.]*", program) and words[1:2] == ("-m",) and len(words) > 2:
        return words[2]
    return program


def chain_text(wishes: ChainWishes) -> str:
    """The whole file."""
    return "\n".join((*_head(wishes), "tiers:", *_tiers(wishes), ""))


def _head(wishes: ChainWishes) -> Iterator[str]:
    path = [f"{name} ({kind})" for name, kind in wishes.front.items()]
    yield f"# {wishes.name}: an application that changeover rolls without breaking a request."
    yield "#"
    yield f"#   clients ──> {' ──> '.join([*path, 'app'])}"
    yield "#"
    yield "# changeover validate    checks this file"
    yield "# changeover up          starts every tier from its first template"
    yield "# changeover roll app --to v2"
    yield "# changeover schema      prints every key that may stand here"
    yield ""
    yield f"name: {_scalar(wishes.name)}"
    yield f"listen: 127.0.0.1:{wishes.port}   # address for clients; port 0 takes a free one, which status prints"
    yield "probe:   # what `changeover probe` sends, without retries; it counts every request that broke"
    yield f"  get: [{{path: {_scalar(wishes.ready)}}}]"
    yield ""


def _tiers(wishes: ChainWishes) -> Iterator[str]:
    for name, kind in wishes.front.items():
        yield f"  - name: {name}"
        comment, first, second = _KINDS[kind]
        yield f"    kind: {kind}   # {comment}"
        yield f"    size: {wishes.size}"
        yield "    drain: {deadline: 180s}   # longer than the longest upload and than the connections of clients"
        yield "    templates:"
        yield f"      v1: &{name}"
        yield from (f"        {line}" for line in first)
        yield f"      v2: {{<<: *{name}, {second}}}"
        yield ""
    yield "  - name: app"
    yield "    kind: app"
    yield f"    size: {wishes.size}   # instances that serve; during a roll there is one more"
    yield "    health:"
    yield f"      path: {_scalar(wishes.ready)}   # a GET here is answered with 200 while an instance may get traffic"
    yield "    drain:"
    yield "      deadline: 60s   # longer than the longest request; a drain ends as soon as nothing is in flight"
    yield "    update:"
    yield "      min_ready: 1s   # how long a new instance must be ready before it gets traffic"
    yield "    templates:   # a template that runs is not edited: add v3 for the next version"
    yield "      v1: &app"
    yield f"        command: [{', '.join(map(_scalar, wishes.command))}]"
    if not any("{port}" in word for word in wishes.command):
        yield '        env: {HOST: "{host}", PORT: "{port}"}   # every instance has a port of its own'
    yield "        version: v1"
    yield "      v2:"
    yield "        <<: *app"
    yield "        version: v2   # what changes: command, env, cwd"


def _scalar(text: str) -> str:
    """A string in YAML, without quotes where it needs none."""
    if re.fullmatch(r"[A-Za-z0-9_./=-]+", text) and yaml.safe_load(text) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).strip()
