"""A successor gets the listeners of its predecessor, which drains only once the successor serves."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from changeover.relay.process.socket_handoff import offer, passed_by_systemd, report_serving, take_over

PATIENCE = 5.0


async def exists(control: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while not control.exists():
            await asyncio.sleep(0)


def test_a_successor_listens_on_the_same_socket_and_its_predecessor_is_informed(tmp_path: Path) -> None:
    async def go() -> None:
        control = tmp_path / "control"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            offering = asyncio.create_task(offer(control, lambda: [listener]))
            await exists(control)
            predecessor, (taken,) = await asyncio.to_thread(take_over, control)
            with taken:
                assert taken.getsockname() == listener.getsockname()
                assert not offering.done()
                report_serving(predecessor)
                await asyncio.wait_for(offering, PATIENCE)

    asyncio.run(go())


def test_a_successor_that_ends_before_it_serves_is_followed_by_another(tmp_path: Path) -> None:
    async def go() -> None:
        control = tmp_path / "control"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            offering = asyncio.create_task(offer(control, lambda: [listener]))
            await exists(control)
            first, (unused,) = await asyncio.to_thread(take_over, control)
            unused.close()
            first.close()
            second, (taken,) = await asyncio.to_thread(take_over, control)
            assert not offering.done()
            report_serving(second)
            await asyncio.wait_for(offering, PATIENCE)
            taken.close()

    asyncio.run(go())


def test_only_the_owner_may_take_over(tmp_path: Path) -> None:
    async def go() -> int:
        control = tmp_path / "control"
        offering = asyncio.create_task(offer(control, list))
        await exists(control)
        offering.cancel()
        return control.stat().st_mode & 0o777

    assert asyncio.run(go()) == 0o600


def test_a_predecessor_that_passes_no_sockets_is_refused(tmp_path: Path) -> None:
    control = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(str(control))
        here.listen()

        async def go() -> None:
            taking = asyncio.create_task(asyncio.to_thread(take_over, control))
            peer, _ = await asyncio.to_thread(here.accept)
            with peer:
                peer.sendall(b"something")
                with pytest.raises(OSError, match="passed no listening sockets"):
                    await taking

        asyncio.run(go())


def test_a_place_that_cannot_be_bound_is_named(tmp_path: Path) -> None:
    control = tmp_path / "missing" / "control"
    with pytest.raises(OSError, match="No such file") as refused:
        asyncio.run(offer(control, list))
    assert refused.value.filename == str(control)


def test_sockets_of_systemd_are_taken_only_by_the_process_that_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert passed_by_systemd() == []
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    assert passed_by_systemd() == []
