"""The boundaries of a Kong node: what local users can ask its status listener, and clients its proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.kong.kongs import have_kong, run
from tests.kong.test_hop import Running, conf, settled
from tests.process.balanced import started
from tests.process.test_forwarded import HIDDEN, NAMED, SMUGGLED, forwarded
from tests.process.test_routes import Behind

from changeover.hops.kong.config import clients_conf, status_conf
from changeover.hops.kong.settings import KongSettings
from changeover.hops.nginx import binary
from changeover.kit import process, sockets
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.instance import Address, Instance


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A Kong as the first tier."""
    with pytest.MonkeyPatch.context() as environment:
        have_kong(tmp_path_factory.mktemp("bin"), environment)
        found = Running(tmp_path_factory.mktemp("node"), trusted_peers=(), hidden_paths=HIDDEN)
        try:
            found.until(found.ready, "not ready")
            yield found
        finally:
            process.kill_session(found.pid, found.born, found.folder)


def test_the_operator_alone_makes_a_node_not_ready(node: Running) -> None:
    url = f"http://{node.instance.control}/status/ready"
    for credentials in (None, ("changeover", "guessed")):
        answer = httpx.post(url, json={"status": "draining"}, auth=credentials, trust_env=False)
        assert answer.status_code == 401
    assert httpx.get(url, trust_env=False).status_code == 200
    node.do(lambda hop, _: hop.lame_duck(node.instance, on=True))
    assert httpx.get(url, trust_env=False).status_code == 503


def test_clients_name_nothing_and_get_no_control_answer(node: Running) -> None:
    behind = Behind()

    async def story(router: object) -> None:
        server = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
        async with server, httpx.AsyncClient(trust_env=False) as client:
            target = Address(*server.sockets[0].getsockname()[:2])
            await router.admit(Instance("runtime-v1-1", "runtime", "v1", target, target), 100)  # type: ignore[attr-defined]
            at = f"http://{node.instance.address}"
            for path in (*HIDDEN, "//readyz", "/readyz?a=b", "/%72eadyz"):
                assert (await client.get(f"{at}{path}")).status_code == 404, path
            async with asyncio.timeout(40):
                while (await client.get(f"{at}/", headers={**NAMED, **SMUGGLED, "X-Marked": "yes"})).status_code != 200:
                    await asyncio.sleep(0.02)

    node.do(lambda _, router: story(router))
    (got,) = (head for head in behind.heads if "x-marked" in head)  # the rest are Kong's health checks
    assert forwarded(got) == {"x-forwarded-for": "127.0.0.1"}
    assert not {"x_forwarded_for", "x-real_ip"} & got.keys()


def test_what_clients_can_ask_of_kong_itself_is_off() -> None:
    """To Kong every client comes from a loopback address, from which it takes X-Kong-Request-Debug without a token."""
    given = conf(settled())
    assert (given["request_debug"], given["allow_debug_header"]) == ("off", "off")
    assert given["nginx_status_include"] == "/state/instances/gateway-v1-1/status.conf"
    assert "nginx_proxy_include" not in given


def test_the_first_tier_that_reads_http_removes_every_forwarded_header() -> None:
    where = settled(trusted_peers=(), hidden_paths=HIDDEN)
    assert conf(where)["nginx_proxy_include"] == "/state/instances/gateway-v1-1/clients.conf"
    text = clients_conf(KongSettings.model_validate({"routes": [{"path": "/"}, {"path": "/inflight"}]}), where)
    assert all(f'["{name.lower()}"] = true' in text for name in FORWARDED_HEADERS)
    assert "location = /readyz { return 404; }" in text
    assert "/inflight" not in text  # a route of its own: the operator's wish


def test_nginx_asks_for_the_password_where_a_request_is_no_question(tmp_path: Path) -> None:
    """The status listener is nginx's, and so is what guards it: tried on a real nginx with a page of its own."""
    port = sockets.free_port("127.0.0.1")
    where = settled(str(tmp_path))
    (tmp_path / "status.conf").write_text(status_conf(where))
    (tmp_path / "admin.passwords").write_text("changeover:{PLAIN}secret\n")
    (tmp_path / "nginx.conf").write_text(f"""daemon off; pid nginx.pid; user root;
events {{}}
http {{ access_log off; server {{
    listen 127.0.0.1:{port};
    include status.conf;
    location / {{ stub_status; }}
}} }}
""")

    async def story() -> None:
        command = (binary.find().path, "-p", ".", "-c", "nginx.conf", "-e", "stderr")
        async with started(tmp_path, *command), httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(40):
            url = f"http://127.0.0.1:{port}/status/ready"
            while True:
                with contextlib.suppress(httpx.TransportError):
                    assert (await client.get(url)).status_code == 200
                    break
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                assert (await client.request(method, url)).status_code in (401, 405), method
            assert (await client.post(url)).status_code == 401
            assert (await client.post(url, auth=("changeover", "guessed"))).status_code == 401
            assert (await client.post(url, auth=("changeover", "secret"))).status_code == 405  # the page's own answer

    run(story())
