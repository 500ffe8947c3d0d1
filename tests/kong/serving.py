"""The double's listeners: Admin API, status and proxy of each node, with health checks and a balancer that works.

The proxy does what was measured: a target is chosen when a request's head has come and is not looked at again; a body
that is buffered is taken whole before the target hears of it; what cannot be connected to is tried elsewhere among the
targets that had weight when the request began.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from tests.kong.double import JSON, OCCURRED, SERVER, Answer, Node, NotRecorded

HOST = "127.0.0.1"
PATIENCE = 40.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no authority, and costs nothing: reading what the system trusts takes as long as a whole test."""
ADMIN = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "X-Kong-Admin-Latency": "5"}
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te", b"trailer"}
FOREIGN = "<html><body>It works! You sent: {headers}</body></html>"


class Listener:
    """One port with an application, that can be closed and opened again."""

    def __init__(self, application: Any, port: int = 0, host: str = HOST, tls: ssl.SSLContext | None = None) -> None:
        self._application = application
        self._tls = tls
        self._host = host
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = _listening(host, port)
        self.port: int = self._socket.getsockname()[1]

    async def open(self) -> None:
        config = uvicorn.Config(
            self._application,
            interface="asgi3",
            proxy_headers=False,
            log_level="critical",
            lifespan="off",
            server_header=False,
            timeout_keep_alive=3600,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = self._tls
        self._server = uvicorn.Server(config)
        at = self._socket or _listening(self._host, self.port)
        self._socket = None
        self._task = asyncio.create_task(self._server.serve(sockets=[at]))
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def close(self, *, cut: bool = True) -> None:
        """Refuse what is new, and either end what is under way or wait for it."""
        if self._server is not None and self._task is not None:
            self._server.config.timeout_graceful_shutdown = 1 if cut else None
            self._server.should_exit, self._server.force_exit = True, cut
            await self._task
            self._server = None


def _listening(host: str, port: int) -> socket.socket:
    at = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, or asyncio lets Nagle delay
    at.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    at.bind((host, port))
    at.listen(128)
    return at


@dataclass
class ServedNode:
    """One node with its listeners. `fault`: what its Admin API does instead of answering."""

    node: Node
    ports: tuple[int, int, int] = (0, 0, 0)
    hosts: tuple[str, str, str] = (HOST, HOST, HOST)
    tls: ssl.SSLContext | None = None
    fault: str = ""
    token: str = ""
    password: str = ""
    """Of the Admin API, `user:password`."""
    status_password: str = ""
    """Of the status listener, for everything but a question."""
    hidden: frozenset[str] = frozenset()
    """Paths at which nginx answers 404 before Kong reads them."""
    removed: frozenset[str] = frozenset()
    """Headers, by lower-case name with dashes, that nginx removes before Kong reads them."""
    trusts: bool = False
    """Whether it believes its peers: `trusted_ips`."""
    checks: bool = True
    keepalive_time: float = 3600.0
    """Seconds after which a connection is closed with the next answer."""
    headers_seen: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        applications = (self._admin, self._status, self._proxy)
        contexts = (self.tls, None, None)
        self.admin, self.status, self.proxy = (
            Listener(application, port, host, context)
            for application, port, host, context in zip(applications, self.ports, self.hosts, contexts, strict=True)
        )
        self._checks: asyncio.Task[None] | None = None
        self._since: dict[tuple[str, int], float] = {}
        limits = httpx.Limits(keepalive_expiry=self.node.pool_idle, max_connections=None)
        self._client = httpx.AsyncClient(timeout=None, trust_env=False, limits=limits, verify=NO_TLS)

    @property
    def admin_url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.hosts[0]}:{self.admin.port}"

    async def open(self) -> None:
        for listener in (self.admin, self.status, self.proxy):
            await listener.open()
        if self.checks:
            self._checks = asyncio.create_task(self._check_all())

    async def close(self, *, cut: bool = True) -> None:
        if self._checks is not None:
            self._checks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checks
        await asyncio.gather(*(listener.close(cut=cut) for listener in (self.admin, self.status, self.proxy)))
        await self._client.aclose()

    # -- listeners ---------------------------------------------------------------------------------------------------

    async def _admin(self, scope: Any, receive: Any, send: Any) -> None:
        body = b"".join([piece async for piece in _body(receive)])
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.headers_seen.append(headers)
        match self.fault:
            case "slow":
                while self.fault:
                    await asyncio.sleep(0.01)
            case "500":
                return await _answer(send, OCCURRED)
            case "foreign":
                reported = FOREIGN.format(headers=headers)
                return await _answer(send, Answer(200, reported, {"Content-Type": "text/html"}))
            case "other":
                return await _answer(send, Answer(200, {"status": "UP", "headers": headers}))
        if not _is_authorised(dict(scope["headers"]), self.password):
            return await _answer(send, Answer(401, "<html></html>", {"Content-Type": "text/html"}))
        if self.token and headers.get("kong-admin-token") != self.token:
            return await _answer(
                send, Answer(401, {"message": "Invalid credentials. Token or User credentials required"})
            )
        kind, query = headers.get("content-type", ""), scope["query_string"].decode()
        try:
            answer = self.node.on_admin(scope["method"], scope["raw_path"].decode(), query, kind, body)
        except NotRecorded as error:
            self.node.refused.append(str(error))
            answer = Answer(501, {"message": f"not recorded: {error}"})
        return await _answer(send, answer, ADMIN)

    async def _status(self, scope: Any, receive: Any, send: Any) -> None:
        body = b"".join([piece async for piece in _body(receive)])
        if scope["method"] not in ("GET", "HEAD") and not _is_authorised(dict(scope["headers"]), self.status_password):
            return await _answer(send, Answer(401, "<html></html>", {"Content-Type": "text/html"}))
        return await _answer(send, self.node.on_status(scope["method"], scope["path"], body), ADMIN)

    async def _proxy(self, scope: Any, receive: Any, send: Any) -> None:
        request_id = f"{random.getrandbits(128):032x}"
        if re.sub("//+", "/", scope["path"]) in self.hidden:
            return await _told(send, 404, "Not found", request_id)
        found = self.node.route(scope["path"])
        if found is None:
            return await _told(send, 404, "no Route matched with those values", request_id)
        route, service = found
        upstream = self.node.upstream_named(service["host"])
        snapshot = self.node.snapshot(upstream) if upstream else []
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        hashed, cookie = self.node.hashed(upstream, headers, scope["client"][0]) if upstream else (None, "")
        target = self.node.choose(snapshot, hashed)
        if target is None:
            return await _told(send, 503, "failure to get a peer from the ring-balancer", request_id)
        self.node.busy += 1
        try:
            content: Any = _body(receive)
            if route["request_buffering"]:
                content = b"".join([piece async for piece in content])
            for _ in range(service["retries"] + 1):
                try:
                    return await self._pass_on(scope, target, content, send, request_id, cookie)
                except httpx.ConnectError:  # nothing of the body has been taken yet
                    target = self.node.choose(one for one in snapshot if one["target"] != target) or target
            await _told(send, 502, "An invalid response was received from the upstream server", request_id)
        except (httpx.HTTPError, _Gone):
            await _told(send, 502, "An invalid response was received from the upstream server", request_id)
        finally:
            self.node.busy -= 1

    async def _pass_on(self, scope: Any, target: str, content: Any, send: Any, request_id: str, cookie: str) -> None:
        path = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = [(name, value) for name, value in scope["headers"] if name not in HOP_BY_HOP]
        headers = [each for each in headers if each[0].decode().replace("_", "-") not in self.removed]
        named = [value.decode() for name, value in headers if name == b"x-forwarded-for"]
        headers = [each for each in headers if each[0] not in (b"x-forwarded-for", b"x-forwarded-proto")]
        headers.append((b"x-forwarded-for", ", ".join([*named, scope["client"][0]]).encode()))
        scheme = dict(scope["headers"]).get(b"x-forwarded-proto") if self.trusts else None
        headers.append((b"x-forwarded-proto", scheme or b"http"))
        chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
        counted = any(name == b"content-length" for name, _ in scope["headers"])
        request = httpx.Request(
            scope["method"],
            f"http://{target}{path.decode()}",
            headers=headers,
            content=content if chunked or counted else b"",
        )
        if not counted and not chunked:
            request.headers.pop("content-length", None)
        answer = await self._client.send(request, stream=True)
        try:
            reported = [(name, value) for name, value in answer.headers.raw if name.lower() not in HOP_BY_HOP]
            reported += [(b"Via", f"1.1 {SERVER}".encode()), (b"X-Kong-Request-Id", request_id.encode())]
            reported += [(b"X-Kong-Upstream-Latency", b"1"), (b"X-Kong-Proxy-Latency", b"0")]
            if cookie:
                reported.append((b"Set-Cookie", cookie.encode()))
            if self._is_old(scope["client"]):
                reported.append((b"Connection", b"close"))
            if "server" not in answer.headers:
                reported.append((b"Server", SERVER.encode()))
            await send({"type": "http.response.start", "status": answer.status_code, "headers": reported})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    def _is_old(self, client: tuple[str, int]) -> bool:
        """Whether a connection has been there for longer than it may."""
        now = asyncio.get_running_loop().time()
        if now - self._since.setdefault(client, now) < self.keepalive_time:
            return False
        del self._since[client]
        return True

    # -- health checks -----------------------------------------------------------------------------------------------

    async def _check_all(self) -> None:
        due: dict[tuple[str, str], float] = {}
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS) as client, asyncio.TaskGroup() as checks:
            while True:
                now = asyncio.get_running_loop().time()
                for key in [key for key in self.node.known["upstreams"] if self.node.has_balancer(key)]:
                    active = self.node.known["upstreams"][key]["healthchecks"]["active"]
                    if not active["healthy"]["interval"]:
                        continue
                    for target in self.node.targets(key):  # those of weight 0 as well
                        one = (key, target["target"])
                        if now >= due.get(one, 0.0):
                            due[one] = now + active["healthy"]["interval"]
                            checks.create_task(self._check(client, *one, active))
                await asyncio.sleep(0.01)

    async def _check(self, client: httpx.AsyncClient, upstream: str, target: str, active: Any) -> None:
        try:
            if active["type"] == "tcp":
                async with asyncio.timeout(active["timeout"]):
                    _, writer = await asyncio.open_connection(*target.rsplit(":", 1))
                writer.close()
                passed = True
            else:
                headers = {name: ", ".join(values) for name, values in (active["headers"] or {}).items()}
                headers["Connection"] = "close"  # as lua-resty-healthcheck does
                url = f"http://{target}{active['http_path']}"
                answer = await client.get(url, timeout=active["timeout"], headers=headers)
                # Kong ignores a status that is in neither list.
                passed = answer.status_code in active["healthy"]["http_statuses"]
                if not passed and answer.status_code not in active["unhealthy"]["http_statuses"]:
                    return
        except (httpx.HTTPError, OSError):
            passed = False
        if upstream in self.node.known["upstreams"]:
            self.node.checked(upstream, target, passed)


def _is_authorised(headers: dict[bytes, bytes], password: str) -> bool:
    return not password or headers.get(b"authorization") == b"Basic " + b64encode(password.encode())


class _Gone(Exception):
    """The client went away in the midst of its body."""


async def _body(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        if piece := message.get("body"):
            yield piece
        if not message.get("more_body"):
            return


async def _answer(send: Any, answer: Answer, more: dict[str, str] | None = None) -> None:
    body = answer.encoded()
    headers = {"Server": SERVER, **(more or {}), **answer.headers}
    if answer.body is not None and answer.status != 204:
        headers.setdefault("Content-Type", JSON)
    if answer.status != 204:
        headers["Content-Length"] = str(len(body))
    if headers.pop("X-Double-Head", None):
        body = b""
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _told(send: Any, status: int, message: str, request_id: str) -> None:
    text = f'{{\n  "message":"{message}",\n  "request_id":"{request_id}"\n}}'
    headers = {"Content-Type": JSON, "X-Kong-Response-Latency": "0", "X-Kong-Request-Id": request_id}
    await _answer(send, Answer(status, text, headers))


# -- beside a test -----------------------------------------------------------------------------------------------------


class Beside:
    """An event loop in a thread of its own, for nodes that a test speaks to."""

    def __init__(self, served: Sequence[ServedNode]) -> None:
        self.served = served
        self.closing: list[Callable[[], Coroutine[Any, Any, None]]] = [one.close for one in served]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def call(self, function: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return function()

        return self.do(called())

    def end(self) -> None:
        for one in self.served:
            one.fault = ""

        async def close_all() -> None:
            await asyncio.gather(*(close() for close in self.closing))

        self.do(close_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def start(self) -> None:
        self._thread.start()
        for one in self.served:
            self.do(one.open())


@contextmanager
def named(*names: str) -> Iterator[tuple[int, ...]]:
    """Servers that answer every request with their name; their ports."""

    def answering(name: str) -> Any:
        async def application(scope: Any, receive: Any, send: Any) -> None:
            await _answer(send, Answer(200, name))

        return application

    listeners = [Listener(answering(name)) for name in names]
    with beside() as running:
        for listener in listeners:
            running.do(listener.open())
            running.closing.append(listener.close)
        yield tuple(listener.port for listener in listeners)


@contextmanager
def beside(*served: ServedNode) -> Iterator[Beside]:
    """These nodes, up. After the block nothing of them is left, and they must not have been asked the unknown."""
    found = Beside(served)
    found.start()
    try:
        yield found
        refused = [one for node in served for one in node.node.refused]
        assert not refused, json.dumps(refused)
    finally:
        found.end()
