from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from changeover.cli.probe_process import ProbeProcess
from changeover.model.errors import ChangeoverError


def with_probe(script: str, use: Callable[[ProbeProcess], Awaitable[None]], folder: Path) -> list[str]:
    """Run `use` with a shell script in the place of the probe; returns the lines that it showed."""
    shown: list[str] = []

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", script), cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        probe = ProbeProcess(process, shown.append)
        try:
            await use(probe)
        finally:
            await probe.end()

    asyncio.run(main())
    return shown


def test_traffic_flows_once_all_uploads_are_in_flight(tmp_path: Path) -> None:
    script = "echo '0 s  3 in flight' >&2; echo '1 s  4 in flight' >&2; exec sleep 60"
    assert with_probe(script, lambda probe: probe.flows(4), tmp_path) == ["0 s  3 in flight", "1 s  4 in flight"]


def test_without_uploads_traffic_flows_once_there_are_gets(tmp_path: Path) -> None:
    script = "echo '0 s  0 GET  0 in flight' >&2; echo '1 s  9 GET (p99 1 ms)' >&2; exec sleep 60"
    assert len(with_probe(script, lambda probe: probe.flows(0), tmp_path)) == 2


def test_a_probe_that_ends_before_that_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(ChangeoverError) as refused:
        with_probe("echo 'error: no route' >&2; exit 2", lambda probe: probe.flows(4), tmp_path)
    assert str(refused.value).startswith("the probe ended before all uploads were in flight")


def test_the_verdict_is_what_the_probe_prints_after_its_stop(tmp_path: Path) -> None:
    stop = """stop() { echo '{"lost": 0}'; exit; }; trap stop TERM"""
    script = f"{stop}; echo ' 1 in flight' >&2; while :; do sleep 0.05; done"
    verdicts: list[object] = []

    async def use(probe: ProbeProcess) -> None:
        await probe.flows(1)
        verdicts.append(await probe.verdict())

    with_probe(script, use, tmp_path)
    assert verdicts == [{"lost": 0}]


def test_a_probe_without_a_verdict_is_an_error(tmp_path: Path) -> None:
    async def use(probe: ProbeProcess) -> None:
        await probe.flows(1)
        await probe.verdict()

    with pytest.raises(ChangeoverError, match="the probe ended without a verdict"):
        with_probe("echo ' 1 in flight' >&2; exec sleep 60", use, tmp_path)
