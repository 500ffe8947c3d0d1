"""A certificate that is renewed on the disk, at a real nginx and a real HAProxy: no connection ends for it."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.process.balanced import HOST, PATIENCE
from tests.process.test_routes import Behind
from tests.unit.hops import contexts

from changeover import wiring
from changeover.hops.haproxy.hop import HaproxyHttp
from changeover.hops.nginx.certificate import PERIOD
from changeover.hops.nginx.hop import NginxHttp
from changeover.kit import process, sockets
from changeover.model.instance import Address, Instance
from changeover.platforms.local.launch_files import write_files
from changeover.ports import RenewsCertificates

CA = trustme.CA()


def write(file: Path, key: Path | None = None) -> trustme.LeafCert:
    """A new certificate, with its key in the same file or in `key`."""
    made = CA.issue_cert(HOST)
    text = "".join(blob.bytes().decode() for blob in made.cert_chain_pems)
    private = made.private_key_pem.bytes().decode()
    file.write_text(text + ("" if key else private), encoding="utf-8")
    if key:
        key.write_text(private, encoding="utf-8")
    return made


@dataclass
class Edge:
    hop: RenewsCertificates
    instance: Instance
    said: list[str]
    """What the renewals reported."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context()
        CA.configure_trust(context)
        return await asyncio.open_connection(HOST, self.instance.address.port, ssl=context)

    async def serial(self) -> str:
        """The serial number in the certificate that a new connection gets."""
        _, writer = await self.connect()
        with closing(writer):
            return str(writer.get_extra_info("peercert")["serialNumber"])

    async def renewing(self) -> None:
        while True:
            self.said += await self.hop.renew(self.instance, time.time())
            await asyncio.sleep(0.2)


@asynccontextmanager
async def edge(kind: type[NginxHttp | HaproxyHttp], folder: Path, tls: dict[str, str]) -> AsyncIterator[Edge]:
    server = await asyncio.start_server(Behind().serve, HOST, 0)
    async with server, wiring.client() as control, asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        port = sockets.free_port(HOST)
        instance = contexts.instance(port=port, control=sockets.free_port(HOST, {port}))
        home = folder / "of the instance"
        instance = replace(instance, directory=str(home))
        inner = replace(contexts.INNER, address=Address(*server.sockets[0].getsockname()[:2]))
        hop = kind(control)
        settings: Any = kind.traits.settings.model_validate({"tls": tls})
        if isinstance(hop, NginxHttp):
            hop.learn({"v1": settings})
        launch = hop.launch(settings, contexts.launch_context(instance=instance, behind=(inner,), outermost=True))
        write_files(launch, home)
        pid, born = process.spawn(launch.argv, home=home, env=dict(os.environ))
        try:
            while await hop.not_ready(instance):
                await asyncio.sleep(0.02)
            made = Edge(hop, replace(instance, pid=pid, born=born), [])
            task = tasks.create_task(made.renewing())
            yield made
            task.cancel()
        finally:
            process.kill_session(pid, born, home)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    return head.split(b"\r\n")[0]


def serial(made: trustme.LeafCert) -> str:
    from cryptography import x509

    number = f"{x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number:X}"
    return number.zfill(len(number) + len(number) % 2)


@pytest.mark.parametrize("kind", [NginxHttp, HaproxyHttp])
def test_new_connections_get_a_renewed_certificate_and_open_ones_go_on(
    tmp_path: Path, kind: type[NginxHttp | HaproxyHttp]
) -> None:
    """The new one does not fit its key for a while, as where a renewal is interrupted between its two files."""
    file, key = tmp_path / "edge.pem", tmp_path / ("edge.key" if kind is NginxHttp else "edge.pem.key")
    tls = {"certificate": str(file)} | ({"key": str(key)} if kind is NginxHttp else {})
    first = write(file, key)

    async def go() -> None:
        async with edge(kind, tmp_path, tls) as one:
            assert await one.serial() == serial(first)
            reader, writer = await one.connect()
            with closing(writer):
                write(file, tmp_path / "other.key")
                while not one.said:
                    await asyncio.sleep(0.05)
                assert one.said == [
                    f"the renewed certificate {file} is not served: the key does not belong to the certificate. The "
                    "earlier one goes on. Write a certificate and the key that belongs to it"
                ]
                assert await one.serial() == serial(first)

                second = write(file, key)
                seen = set()
                while len(one.said) == 1:  # nothing breaks while it is replaced
                    seen.add(await one.serial())
                    assert b" 200 " in await answer(reader, writer)
                assert one.said[1] == f"serves the renewed certificate {file} to new connections"
                assert seen <= {serial(first), serial(second)}
                started = time.monotonic()
                while time.monotonic() - started < (PERIOD / 2 if kind is NginxHttp else 0.5):
                    assert await one.serial() == serial(second)
                    await asyncio.sleep(0.01)
                assert b" 200 " in await answer(reader, writer)

    asyncio.run(go())
