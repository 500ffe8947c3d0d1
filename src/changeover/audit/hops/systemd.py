"""systemd units with their drop-ins -> how the software that they run is stopped.

A stop runs every ExecStop and waits for each; then systemd sends KillSignal, and SIGKILL after TimeoutStopSec
(systemd.service(5), systemd.kill(5)). After a command that only sends a signal, KillSignal follows at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from changeover.audit.commands import unit_words
from changeover.audit.starts import start
from changeover.audit.stop_commands import stopping
from changeover.audit.stop_keys import SYSTEMD
from changeover.audit.view import Signal, StopPath
from changeover.conf.document import Document
from changeover.conf.place import Place
from changeover.conf.systemd import Entry, UnitFile, seconds

_LISTS = {"ExecStart", "ExecStop", "ExecReload", "ExecStartPre", "ExecStopPost"}
"""Keys that collect values until an empty one clears them."""
DEFAULT_WAIT = 90.0
"""Seconds: DefaultTimeoutStopSec of systemd-system.conf(5)."""


def stops(documents: Sequence[Document]) -> Iterator[StopPath]:
    """A stop path for each unit that runs a known software."""
    units = [one for one in documents if isinstance(one, UnitFile)]
    bases = [one for one in units if not _is_drop_in(one)]
    for base in bases:
        name = PurePosixPath(base.file).name
        drop_ins = [one for one in units if _is_drop_in(one) and PurePosixPath(one.file).parent.name == f"{name}.d"]
        merged = _merged([base, *sorted(drop_ins, key=lambda one: PurePosixPath(one.file).name)])
        if (software := _software(merged)) is not None:
            yield _stop(software, name, base, merged)


def _is_drop_in(unit: UnitFile) -> bool:
    return PurePosixPath(unit.file).parent.name.endswith(".d")


def _merged(units: Sequence[UnitFile]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in (entry for unit in units for entry in unit.entries if entry.section == "Service"):
        if not entry.value:
            found[entry.key] = []
        elif entry.key in _LISTS:
            found.setdefault(entry.key, []).append(entry)
        else:
            found[entry.key] = [entry]
    return found


def _software(merged: dict[str, list[Entry]]) -> str | None:
    if any("kong" in entry.value for entry in merged.get("ExecStart", [])):
        return "kong"  # its package starts the nginx within it
    for entry in merged.get("ExecStart", []):
        if (found := start(unit_words(entry.value)).software) is not None:
            return found
    return None


def _stop(software: str, name: str, base: UnitFile, merged: dict[str, list[Entry]]) -> StopPath:
    signals: list[Signal] = []
    missing, at = "", 0.0
    for entry in merged.get("ExecStop", []):
        found = stopping(entry.value, entry.place, f"ExecStop={entry.value}")
        if found is None:
            missing = f"what `{entry.value}` in {entry.place} does: its signal and its wait cannot be read"
            break
        signals += [Signal(at + one.at, one.name, one.place, one.text) for one in found[0]]
        at += found[1]
    budget = _time(merged)
    kill = merged.get("KillSignal", [])
    where = kill[0].place if kill else _service(base)
    text = f"KillSignal={kill[0].value}" if kill else "KillSignal is not set, so it is SIGTERM"
    signal = (kill[0].value if kill else "SIGTERM").upper().removeprefix("SIG")
    if any(key == "KillMode" and entries and entries[0].value == "none" for key, entries in merged.items()):
        signals = signals or [Signal(at, "none", where, "KillMode=none")]
    elif missing:
        pass  # when KillSignal follows depends on that command
    elif budget is None:
        missing = f"a time that can be read in TimeoutStopSec of {base.file}"
    else:
        mode = merged.get("KillMode", [])
        whole = not mode or mode[0].value == "control-group"
        signals.append(Signal(min(at, budget), signal, where, text, whole))
        stop = merged.get("TimeoutStopSec") or merged.get("TimeoutSec") or []
        text = f"{stop[0].key}={stop[0].value}" if stop else "TimeoutStopSec is not set, so it is 90 s"
        signals.append(Signal(min(at, budget) + budget, "KILL", stop[0].place if stop else where, text))
    place = reload[0].place if (reload := merged.get("ExecReload", [])) else None
    return StopPath(software, name, _service(base), tuple(signals), SYSTEMD, place, missing, cut_short=bool(missing))


def _service(base: UnitFile) -> Place:
    entries = [one for one in base.entries if one.section == "Service" and one.key == "ExecStart"]
    return entries[0].place if entries else Place(base.file)


def _time(merged: dict[str, list[Entry]]) -> float | None:
    entries = merged.get("TimeoutStopSec") or merged.get("TimeoutSec")
    if not entries:
        return DEFAULT_WAIT
    found = seconds(entries[0].value)
    return float("inf") if found == 0 else found
