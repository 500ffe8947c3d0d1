"""One message through Apprise, sent by a process of its own (`engine/sender.py`).

Why not a thread: a thread that hangs in a socket can be given up but not ended, and the command could not end either;
and Apprise imports 745 modules before it sends anything (0.3 s of processor time, more from a cold disk, and 43 MB),
during which a controller in the same interpreter would be late to see what it drains. The address is handed over on
standard input, since anybody may read a process's arguments.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from changeover.kit.command import run_command
from changeover.model.hooks import HookPayload, Point
from changeover.model.units import human_seconds

_KEEP = 65536
"""Bytes of the sender's output that are kept; the answer is its last line."""


class NotSent(Exception):
    """A message did not reach its service. The text says why in Apprise's words, and may hold parts of the address."""


async def send(url: str, payload: HookPayload | None, timeout: float, environ: Mapping[str, str]) -> None:
    """Send it, or without a payload only ask whether Apprise understands the address. Raises NotSent."""
    ended = await run_command(
        (sys.executable, "-P", "-m", "changeover.engine.hooks.sender"),
        stdin=json.dumps({"url": url} if payload is None else {"url": url, **message(payload)}).encode(),
        cwd=Path(),
        env=environ,
        timeout=timeout,
        keep=_KEEP,
    )
    if ended.code is None:
        raise NotSent(f"took longer than {human_seconds(timeout)}")
    try:
        answer = json.loads(ended.output.splitlines()[-1])
        sent, why = answer["sent"], answer["why"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise NotSent(f"the sender ended with exit code {ended.code} and without an answer") from None
    if not sent:
        raise NotSent(why)


def message(payload: HookPayload) -> dict[str, str]:
    """What people read: one line that says it, then what else is known."""
    way = f"{payload.came_from} -> {payload.goal}" if payload.came_from else payload.goal
    point = payload.point.value.replace("_", " ") if payload.point else ""
    what = payload.outcome or (f"{point}: {payload.step}" if payload.step else point)
    lines = [
        payload.reason,
        f"Rollout {payload.rollout} of chain {payload.chain}, {point}.",
        ", ".join(f"{number} {name}" for name, number in payload.counts.items()),
    ]
    return {
        "title": f"{payload.chain}: {payload.tier} {way}: {what}",
        "body": "\n".join(filter(None, lines)),
        "type": _TYPES.get(payload.point, "info"),
    }


_TYPES: Mapping[Point | None, Literal["failure", "success"]] = {
    Point.ON_FAILURE: "failure",
    Point.ON_COMPLETION: "success",
}
