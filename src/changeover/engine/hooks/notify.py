"""Send one message through Apprise, in a separate process (`engine/hooks/sender.py`).

A thread that hangs in a socket cannot be killed, and the command could then not exit. Apprise also imports 745 modules
before it sends anything (0.3 s of CPU time, more from a cold disk, and 43 MB); in the controller's interpreter this
would delay its observations. The sender reads the address from standard input, because every user of the machine can
read a process's arguments.
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
"""Bytes of the sender's output that are kept; the result is its last line."""


class NotSent(Exception):
    """A message did not reach its service. The text is Apprise's reason, and may contain parts of the address."""


async def send(url: str, payload: HookPayload | None, timeout: float, environ: Mapping[str, str]) -> None:
    """Send a message; without a payload, only check whether Apprise knows the address. Raises NotSent."""
    ended = await run_command(
        (sys.executable, "-P", "-m", "changeover.engine.hooks.sender"),
        stdin=json.dumps({"url": url} if payload is None else {"url": url, **message(payload)}).encode(),
        cwd=Path(),
        env=environ,
        timeout=timeout,
        keep=_KEEP,
    )
    if ended.code is None:
        raise NotSent(f"it took longer than {human_seconds(timeout)}")
    try:
        answer = json.loads(ended.output.splitlines()[-1])
        sent, why = answer["sent"], answer["why"]
    except (IndexError, ValueError, KeyError, TypeError):
        raise NotSent(f"the sender exited with code {ended.code} and without a result") from None
    if not sent:
        raise NotSent(why)


def message(payload: HookPayload) -> dict[str, str]:
    """The text for people: one line with the event, then the details."""
    way = f"{payload.from_template} -> {payload.to_template}" if payload.from_template else payload.to_template
    point = payload.point.value.replace("_", " ") if payload.point else ""
    what = payload.outcome or (f"{point}: {payload.step}" if payload.step else point)
    lines = [
        payload.reason,
        payload.interrupted,
        payload.verdict,
        payload.report and f"Report: {payload.report}",
        payload.page and f"Page: {payload.page}",
        f"{f'Rollout {payload.rollout} of chain' if payload.rollout else 'Chain'} {payload.chain}, {point}.",
        ", ".join(f"{number} {name}" for name, number in payload.counts.items()),
    ]
    return {
        "title": f"{payload.chain}: {payload.tier} {way}: {what}",
        "body": "\n".join(filter(None, lines)),
        "type": _TYPES.get(payload.point, "info"),
    }


_TYPES: Mapping[Point | None, Literal["failure", "success"]] = {
    Point.ON_FAILURE: "failure",
    Point.ON_CRASH_LOOP: "failure",
    Point.ON_COMPLETION: "success",
}
