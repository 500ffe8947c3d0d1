"""The probe as a process of its own: `demo` sends its traffic with it, apart from the event loop of the controller."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from changeover.cli.options.log_format import VARIABLE, LogFormat
from changeover.model.errors import fail

TRAFFIC_TIMEOUT = 60.0
"""Seconds within which all planned uploads must be in flight."""


class ProbeProcess:
    """The probe's process."""

    def __init__(self, process: Process, show: Callable[[str], None]) -> None:
        self._process = process
        self._show = show
        self._flows = asyncio.Event()
        self._last = ""
        self._reading = asyncio.gather(self._read_progress(), self._read_result())

    async def flows(self, uploads: int) -> None:
        """Wait until all planned uploads are in flight; without any, until the probe reports GETs."""
        self._wanted = f" {uploads} in flight" if uploads else " GET (p99"
        gone = asyncio.ensure_future(self._process.wait())
        seen = asyncio.ensure_future(self._flows.wait())
        await asyncio.wait({gone, seen}, timeout=TRAFFIC_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        seen.cancel()
        if gone.done():
            raise fail("the probe ended before all uploads were in flight", state=self._last)
        gone.cancel()
        if not self._flows.is_set():
            raise fail(f"the probe did not have all uploads in flight within {TRAFFIC_TIMEOUT:.0f} s", state=self._last)

    async def verdict(self) -> dict[str, Any]:
        """Stop the traffic, let it finish and read back, and return the verdict."""
        self._process.terminate()
        _, text = await self._reading
        await self._process.wait()
        try:
            return dict(json.loads(text))
        except ValueError:
            raise fail("the probe ended without a verdict", state=self._last) from None

    async def end(self) -> None:
        """End the process in whatever state it is."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_progress(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            self._last = raw.decode().rstrip()
            self._show(self._last)
            if self._wanted in self._last:
                self._flows.set()

    async def _read_result(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.read()).decode()

    _wanted = "in flight"


@asynccontextmanager
async def probing(
    state: Path, words: Sequence[str], uploads: int, show: Callable[[str], None]
) -> AsyncIterator[ProbeProcess]:
    """Send the chain's traffic, changed by the options in `words`; yields when `uploads` are in flight."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "changeover", "probe", "--json", "--state", str(state), *words),
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, VARIABLE: LogFormat.TEXT},  # its lines are read here
        start_new_session=True,  # Ctrl-C reaches this command alone, which then ends the probe
    )
    prober = ProbeProcess(process, show)
    try:
        await prober.flows(uploads)
        yield prober
    finally:
        await prober.end()
