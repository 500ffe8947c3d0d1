"""A certificate that is renewed on the disk, at a real nginx and a real HAProxy: no connection ends for it."""

from __future__ import annotations

import asyncio
import os
import pwd
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

from changeover.hops.envoy.admin import ask_admin
from changeover.hops.envoy.hop import Envoy
from changeover.hops.haproxy.hop import HaproxyHttp
from changeover.hops.nginx.certificate import FILES, PERIOD
from changeover.hops.nginx.hop import NginxHttp
from changeover.kit import process, sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import PRIVATE, Address, Instance
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
    hop: NginxHttp | HaproxyHttp | Envoy
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
        while isinstance(self.hop, RenewsCertificates):
            self.said += await self.hop.renew(self.instance, time.time())
            await asyncio.sleep(0.2)


@asynccontextmanager
async def edge(kind: type[NginxHttp | HaproxyHttp | Envoy], folder: Path, given: dict[str, Any]) -> AsyncIterator[Edge]:
    server = await asyncio.start_server(Behind().serve, HOST, 0)
    control = DirectClient()
    async with server, asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        port = sockets.free_port(HOST)
        instance = contexts.instance(port=port, control=sockets.free_port(HOST, {port}))
        home = folder / "of the instance"
        instance = replace(instance, directory=str(home))
        inner = replace(contexts.INNER, address=Address(*server.sockets[0].getsockname()[:2]))
        hop = kind(control)
        settings: Any = kind.traits.settings.model_validate(given)
        if isinstance(hop, NginxHttp):
            hop.learn({"v1": settings})
        behind = () if isinstance(hop, Envoy) else (inner,)
        launch = hop.launch(settings, contexts.launch_context(instance=instance, behind=behind, outermost=True))
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
        async with edge(kind, tmp_path, {"tls": tls}) as one:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts workers of another account")
def test_workers_of_another_account_may_read_the_certificate_and_no_other_account(tmp_path: Path) -> None:
    file, key = tmp_path / "edge.pem", tmp_path / "edge.key"
    first = write(file, key)

    async def go() -> None:
        given = {"tls": {"certificate": str(file), "key": str(key)}, "user": "www-data"}
        async with edge(NginxHttp, tmp_path, given) as one:
            assert await one.serial() == serial(first)
            for name in FILES:
                found = (Path(one.instance.directory) / PRIVATE / name).stat()
                assert (found.st_uid, found.st_mode & 0o777) == (pwd.getpwnam("www-data").pw_uid, 0o600)

    asyncio.run(go())


TYPE = "type.googleapis.com/envoy.extensions"
BOOTSTRAP = f"""
static_resources:
  listeners:
    - address: CHANGEOVER_LISTEN
      filter_chains:
        - transport_socket:
            name: tls
            typed_config:
              "@type": {TYPE}.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_certificate_sds_secret_configs:
                  - {{name: edge, sds_config: {{path_config_source: {{path: FOLDER/sds.yaml}}}}}}
          filters:
            - name: http
              typed_config:
                "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: mine
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes: [{{match: {{prefix: /}}, direct_response: {{status: 200}}}}]
                http_filters:
                  - {{name: router, typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}}}
"""
SDS = f"""
resources:
  - "@type": {TYPE}.transport_sockets.tls.v3.Secret
    name: edge
    tls_certificate:
      certificate_chain: {{filename: FOLDER/live/cert.pem}}
      private_key: {{filename: FOLDER/live/key.pem}}
      watched_directory: {{path: FOLDER}}
"""


def test_an_envoy_reads_a_renewed_certificate_as_docs_own_envoy_has_it(tmp_path: Path) -> None:
    def link(name: str) -> None:
        """As `mv -T` does with a new link."""
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").rename(tmp_path / "live")

    made = []
    for name in ("first", "second", "bad"):
        (tmp_path / name).mkdir()
        made.append(write(tmp_path / name / "cert.pem", tmp_path / name / "key.pem"))
    (tmp_path / "bad" / "key.pem").write_text((tmp_path / "first" / "key.pem").read_text())
    (tmp_path / "sds.yaml").write_text(SDS.replace("FOLDER", str(tmp_path)))
    link("first")

    async def go() -> None:
        text = BOOTSTRAP.replace("FOLDER", str(tmp_path))
        async with edge(Envoy, tmp_path, {"config": {"path": "envoy.yaml", "text": text}}) as one:
            assert await one.serial() == serial(made[0])
            reader, writer = await one.connect()
            with closing(writer):
                link("second")
                while await one.serial() != serial(made[1]):
                    await asyncio.sleep(0.05)
                assert b" 200 " in await answer(reader, writer)
                link("bad")
                client = DirectClient()
                while "key_rotation_failed: 0" in (await stats(client, one.instance)):
                    await asyncio.sleep(0.05)
                assert await one.serial() == serial(made[1])
                assert b" 200 " in await answer(reader, writer)

    asyncio.run(go())


async def stats(client: Any, instance: Instance) -> str:
    text: str = (await ask_admin(client, "GET", instance, "/stats?filter=key_rotation_failed")).text
    assert "key_rotation_failed" in text
    return text
