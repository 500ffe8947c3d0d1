"""What a command does that stops a server: the signals that it sends, and the time that it takes.

Refuses to guess: a command that it does not know is None, and the rules answer `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import PurePosixPath

from changeover.audit.starts import split
from changeover.audit.view import Signal
from changeover.conf.place import Place
from changeover.conf.systemd import seconds

_PREFIXES = "@-:+!"
_WAIT = re.compile(r"(?:SIG)?(TERM|QUIT|HUP|INT|KILL|USR1|USR2|WINCH)/(\d+)")
_SHELLS = {"sh", "bash", "dash", "ash"}
_DRAINS = re.compile(r"/(?:healthcheck/fail|drain_listeners)\b")
_RUN_THE_REST = {"busybox", "exec", "env", "sudo"}
_NOTHING = {"true", "echo", ":", "test", "["}
Stopping = tuple[list[Signal], float]
"""Signals, and the seconds until the command returns."""


def stopping(command: str, place: Place, text: str) -> Stopping | None:
    """`text` is the setting as the report quotes it. None if the command cannot be judged."""
    words = split(command.lstrip(_PREFIXES))
    if not words:
        return None
    return _of_words(words, place, text)


def _of_words(words: list[str], place: Place, text: str) -> Stopping | None:
    name, rest = PurePosixPath(words[0]).name, words[1:]
    if name in _RUN_THE_REST and rest:
        return _of_words(rest, place, text)

    def sent(signal: str, at: float = 0.0) -> Signal:
        return Signal(at, signal.upper().removeprefix("SIG"), place, text)

    if name in _SHELLS and rest[:1] == ["-c"] and len(rest) == 2:
        return _in_order(rest[1], place, text)
    if name in {"curl", "wget"} and any(_DRAINS.search(word) for word in rest):
        return [sent("DRAIN")], 0.0
    if name in _NOTHING:
        return [], 0.0

    if name in {"nginx", "openresty"} and "-s" in rest[:-1]:
        signal = {"quit": "QUIT", "stop": "TERM"}.get(rest[rest.index("-s") + 1])
        return ([sent(signal)], 0.0) if signal else None
    if name == "kill" and rest:
        found = re.fullmatch(r"-(?:s|-signal=?)?(?:SIG)?([A-Z]+\d?)?", rest[0])
        signal = (found[1] or (rest[1] if len(rest) > 1 else None)) if found else "TERM"
        return ([sent(signal)], 0.0) if signal else None
    if name == "start-stop-daemon":
        return _start_stop_daemon(rest, sent)
    if name == "sleep" and len(rest) == 1 and (wait := seconds(rest[0])) is not None:
        return [], wait
    if name == "kong" and rest[:1] == ["stop"]:
        return [sent("TERM")], 0.0
    if name == "kong" and rest[:1] == ["quit"]:
        return _kong_quit(rest, sent)
    return None


def _in_order(script: str, place: Place, text: str) -> Stopping | None:
    """Commands of a shell, one after the other. What one sends, it sends after those before it have returned."""
    signals: list[Signal] = []
    at = 0.0
    for part in re.split(r"&&|\|\||;|\n", script):
        bare = part.strip()
        if not bare or bare.startswith("#"):
            continue
        found = stopping(re.sub(r"\s*\d?>{1,2}\s*\S+", "", bare), place, text) if not bare.endswith("&") else None
        if found is None:
            return None
        signals += [Signal(at + one.at, one.name, one.place, one.text) for one in found[0]]
        at += found[1]
    return signals, at


def _start_stop_daemon(rest: list[str], sent: Callable[..., Signal]) -> Stopping | None:
    """`--retry QUIT/5` sends QUIT and waits up to 5 seconds for the process to end."""
    option = next((word for word in rest if word.startswith(("--retry", "-R"))), None)
    if option is None:
        return [sent("TERM")], 0.0
    value = option.partition("=")[2] or next(iter(rest[rest.index(option) + 1 :]), "")
    if value.isdigit():
        return [sent("TERM"), sent("KILL", float(value))], float(value)
    signals, at = [], 0.0
    for name, wait in _WAIT.findall(value):
        signals.append(sent(name, at))
        at += float(wait)
    return (signals, at) if signals else None


def _kong_quit(rest: list[str], sent: Callable[..., Signal]) -> Stopping:
    """`kong quit -t SECONDS` sends QUIT, waits so long (10 s unless given), then sends TERM."""
    wait = 10.0
    for option, value in pairwise(rest):
        if option in {"-t", "--timeout"}:
            wait = float(value) if value.isdigit() else wait
    return [sent("QUIT"), sent("TERM", wait)], wait
