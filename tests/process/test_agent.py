"""A real agent beside real nginx, nginx stream, Envoy, relay and application: ready, lame duck, what is in flight."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP, SIGTERM
from typing import Any

import pytest
import trustme
from tests.process.agents import TOKEN, MetadataServer, RunningAgent, agent, pids_at
from tests.process.balanced import HOST, PATIENCE, Web, started, through_envoys
from tests.unit.hops import contexts

from changeover.hops.envoy.member_list import EnvoyEndpoint, endpoints
from changeover.hops.haproxy.binary import find as binary_of_haproxy
from changeover.hops.nginx import binary
from changeover.kit import sockets

KIB = 1024
LENGTH = 10 * 1024 * KIB
Story = Callable[[RunningAgent, int], Awaitable[None]]
Beside = Callable[[Path, Story], Awaitable[None]]


def two_ports() -> tuple[int, int]:
    first = sockets.free_port(HOST)
    return first, sockets.free_port(HOST, {first})


# -- software ----------------------------------------------------------------------------------------------------------


def nginx_conf(port: int, control: int, behind: int, *, stream: bool) -> str:
    """A configuration of an operator's own, with the server that docs/agent.md shows for the agent."""
    asked = f"""server {{ listen {HOST}:{control}; access_log off;
        location = /readyz {{ return 200; }}
        location = /status {{ stub_status; }} }}"""
    passed = f"listen {HOST}:{port}; proxy_pass {HOST}:{behind};"
    located = f"location / {{ proxy_pass http://{HOST}:{behind}; proxy_request_buffering off; }}"
    served = f"server {{ listen {HOST}:{port}; client_max_body_size 0; {located} }}"
    module = binary.find().stream_module if stream else None
    return "\n".join(
        [
            f"load_module {module};" if module else "",
            "pid nginx.pid; daemon off; worker_processes 1; events {}",
            f"stream {{ server {{ {passed} }} }}" if stream else "",
            f"http {{ access_log off; {'' if stream else served} {asked} }}",
        ]
    )


@asynccontextmanager
async def nginx(folder: Path, behind: int, *, stream: bool = False) -> AsyncIterator[tuple[int, int]]:
    port, control = two_ports()
    folder.mkdir()
    (folder / "nginx.conf").write_text(nginx_conf(port, control, behind, stream=stream))
    async with started(folder, binary.find().path, "-p", ".", "-c", "nginx.conf", "-e", "stderr"):
        yield port, control


@asynccontextmanager
async def application(folder: Path, lame_duck: Path) -> AsyncIterator[int]:
    port = sockets.free_port(HOST)
    folder.mkdir()
    options = ("--host", HOST, "--port", str(port), "--instance", "runtime-1", "--version-label", "v1")
    files = ("--shared", str(folder / "shared"), "--lame-duck-file", str(lame_duck))
    async with started(folder, sys.executable, "-m", "changeover.example_app", *options, *files):
        yield port


async def beside_nginx(folder: Path, story: Story, *, kind: str = "nginx") -> None:
    async with (
        application(folder / "app", folder / "app-lame-duck") as behind,
        nginx(folder / "nginx", behind, stream=kind == "nginx-stream") as (port, control),
        agent(folder / "agent", kind=kind, port=port, control=f"{HOST}:{control}") as running,
    ):
        await listening(behind)
        await story(running, port)


async def beside_stream(folder: Path, story: Story) -> None:
    await beside_nginx(folder, story, kind="nginx-stream")


async def beside_haproxy(folder: Path, story: Story, *, mode: str = "http") -> None:
    """A configuration of an operator's own, with what docs/agent.md shows for the agent."""
    port, home = sockets.free_port(HOST), folder / "haproxy"
    home.mkdir()
    async with application(folder / "app", folder / "app-lame-duck") as behind:
        (home / "haproxy.cfg").write_text(f"""global
    stats socket unix@admin.sock mode 660 level admin
defaults
    mode {mode}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
frontend web
    bind {HOST}:{port}
    default_backend app
backend app
    server app {HOST}:{behind}
backend changeover.ready
    server up 127.0.0.1:9
""")
        kind, control = "haproxy" if mode == "http" else "haproxy-tcp", f"unix:{home}/admin.sock"
        async with (
            started(home, binary_of_haproxy(), "-db", "-f", "haproxy.cfg"),
            agent(folder / "agent", kind=kind, port=port, control=control) as running,
        ):
            await listening(behind)
            await story(running, port)


async def beside_haproxy_tcp(folder: Path, story: Story) -> None:
    await beside_haproxy(folder, story, mode="tcp")


async def beside_envoy(folder: Path, story: Story) -> None:
    web = Web("runtime-1")
    async with web.running() as instance, through_envoys(folder, contexts.BEHIND, nodes=1) as balancer:
        (node,) = balancer.nodes
        await balancer.admits(instance)
        control = f"unix:{node.directory}/admin.sock"
        async with agent(folder / "agent", kind="envoy", port=node.address.port, control=control) as running:
            await story(running, node.address.port)


async def beside_relay(folder: Path, story: Story) -> None:
    port, control = two_ports()
    lame_duck = folder / "agent" / "lame-duck"
    home = folder / "relay"
    home.mkdir()
    async with application(folder / "app", folder / "app-lame-duck") as behind:
        await listening(behind)
        options = ("--upstream", f"{HOST}:{behind}", "--listen", f"{HOST}:{port}", "--admin", f"{HOST}:{control}")
        command = (sys.executable, "-m", "changeover", "relay", *options, "--segment", "POST /upload")
        async with (
            started(home, *command, "--lame-duck-file", str(lame_duck)),
            agent(folder / "agent", kind="relay", port=port, control=f"{HOST}:{control}") as running,
        ):
            await story(running, port)


async def beside_application(folder: Path, story: Story) -> None:
    async with (
        application(folder / "app", folder / "agent" / "lame-duck") as port,
        agent(folder / "agent", kind="app", port=port, control=f"{HOST}:{port}", counts_at="/inflight") as running,
    ):
        await story(running, port)


ALL = [
    *(beside_nginx, beside_stream, beside_haproxy, beside_haproxy_tcp),
    *(beside_envoy, beside_relay, beside_application),
]
BYTES = ("nginx-stream", "haproxy-tcp")
each = pytest.mark.parametrize("beside", ALL)


async def listening(port: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while sockets.can_listen(HOST, port):
            await asyncio.sleep(0.01)


# -- clients -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def slow_post(port: int, sent: int, path: str) -> AsyncIterator[None]:
    """A POST of `LENGTH` bytes of which `sent` have been sent."""
    _, writer = await asyncio.open_connection(HOST, port)
    head = f"POST {path} HTTP/1.1\r\nHost: shop\r\nContent-Length: {LENGTH}\r\n\r\n"
    writer.write(head.encode() + b"x" * sent)
    await writer.drain()
    try:
        yield
    finally:
        writer.close()


def run(beside: Beside, folder: Path, story: Story) -> None:
    async def go() -> None:
        async with asyncio.timeout(90):
            await beside(folder, story)

    asyncio.run(go())


# -- every software ----------------------------------------------------------------------------------------------------


@each
def test_readiness_follows_the_lame_duck_within_one_question_and_needs_no_token(beside: Beside, tmp_path: Path) -> None:
    async def story(running: RunningAgent, port: int) -> None:
        await running.until_ready()
        assert await running.ready() == "ready"
        answer = (await running.lame_duck(True)).json()
        assert (answer["ready"], answer["lame_duck"], answer["reason"]) == (False, True, "lame duck: a control call")
        assert await running.ready() == "lame duck: a control call"
        assert running.lame_duck_file.exists()
        assert (await running.ask("GET", "/livez", token="")).status_code == 200  # autohealing leaves it alone
        assert (await running.lame_duck(False)).json()["lame_duck"] is False
        await running.until_ready()
        assert not running.lame_duck_file.exists()

    run(beside, tmp_path, story)


@each
def test_a_slow_upload_is_in_flight_until_it_ends(beside: Beside, tmp_path: Path) -> None:
    async def story(running: RunningAgent, port: int) -> None:
        await running.until_ready()
        await running.until(lambda status: status["in_flight"] and not status["in_flight"]["connections"])
        kind = (await running.status())["kind"]
        async with slow_post(port, 256 * KIB, "/held" if kind == "envoy" else "/upload"):
            seen = await running.until(lambda status: status["in_flight"]["connections"] == 1 and counted(status))
            assert seen["in_flight"]["requests"] == (None if kind in BYTES else 1)
            kernel = seen["witnesses"]["kernel"]
            assert len(kernel["connections"]) == 1
            if kind in ("relay", "app"):
                (upload,) = seen["in_flight"]["uploads"]
                assert (upload["received"], upload["expected"]) == (256 * KIB, LENGTH)
        await running.until(
            lambda status: not status["in_flight"]["connections"] and not status["in_flight"]["requests"]
        )

    def counted(status: dict[str, Any]) -> bool:
        uploads = status["in_flight"]["uploads"]
        if status["kind"] in ("relay", "app"):
            return bool(uploads) and uploads[0]["received"] == 256 * KIB
        return status["kind"] in BYTES or bool(status["in_flight"]["requests"])

    run(beside, tmp_path, story)


@each
def test_software_that_hangs_is_named_and_its_count_is_unknown(beside: Beside, tmp_path: Path) -> None:
    async def story(running: RunningAgent, port: int) -> None:
        await running.until_ready()
        software = pids_at(port)
        for pid in software:
            os.kill(pid, SIGSTOP)
        try:
            assert "did not answer within 2 s" in await running.ready()
            assert (await running.ask("GET", "/livez", token="")).status_code == 503
            status = await running.status()
            assert status["ready"] is False
            if status["kind"] not in BYTES:  # the kernel counts its connections
                assert status["in_flight"] is None
                assert "no response in time" in status["unknown"]
        finally:
            for pid in software:
                os.kill(pid, SIGCONT)
        await running.until_ready()

    run(beside, tmp_path, story)


# -- one software ------------------------------------------------------------------------------------------------------


def test_an_haproxy_that_cannot_end_its_connections_while_it_drains_is_not_ready(tmp_path: Path) -> None:
    async def story(running: RunningAgent, port: int) -> None:
        await running.until_ready()
        config = tmp_path / "haproxy" / "haproxy.cfg"
        config.write_text(config.read_text().replace("backend changeover.ready", "backend other"))
        control, free = f"unix:{tmp_path}/haproxy/other.sock", sockets.free_port(HOST, {port})
        config.write_text(config.read_text().replace("admin.sock", "other.sock").replace(f":{port}", f":{free}"))
        async with (
            started(tmp_path / "haproxy", binary_of_haproxy(), "-db", "-f", "haproxy.cfg"),
            agent(tmp_path / "other", kind="haproxy", port=port, control=control) as other,
        ):
            status = await other.until(lambda status: "not up" not in status["reason"])
            assert "has no backend changeover.ready" in status["reason"]
            assert (await other.lame_duck(True)).status_code == 503

    run(beside_haproxy, tmp_path, story)


def test_software_that_does_not_run_is_named(tmp_path: Path) -> None:
    async def go() -> None:
        port = sockets.free_port(HOST)
        async with agent(tmp_path / "agent", kind="app", port=port, control=f"{HOST}:{port}") as running:
            assert (await running.ready()).startswith("the software is not up: ")
            assert (await running.ask("GET", "/livez", token="")).status_code == 503
            status = await running.status()
            assert status["in_flight"] == {"requests": None, "connections": 0, "uploads": []}

    asyncio.run(go())


def test_a_notice_of_preemption_makes_it_a_lame_duck_by_itself_and_no_controller_ends_that(tmp_path: Path) -> None:
    async def go() -> None:
        server, lame_duck = MetadataServer(), tmp_path / "agent" / "lame-duck"
        async with (
            application(tmp_path / "app", lame_duck) as port,
            server.running() as metadata,
            agent(tmp_path / "agent", metadata=metadata, kind="app", port=port, control=f"{HOST}:{port}") as running,
        ):
            await running.until(lambda status: status["ready"] and status["metadata"] == "watched")
            await server.set("preempted", "TRUE")
            status = await running.until(lambda status: status["lame_duck"])
            assert status["reason"] == "lame duck: the VM is being preempted"
            assert await running.ready() == "lame duck: the VM is being preempted"
            assert lame_duck.exists()  # the application closes its connections
            refused = await running.lame_duck(False)
            assert refused.status_code == 409
            assert refused.json()["error"] == "the instance stays a lame duck: the VM is being preempted"
            assert (await running.lame_duck(True)).status_code == 200
        assert "the VM is being preempted: the agent answers not ready from now on" in running.log.read_text()

    asyncio.run(go())


def test_an_agent_that_is_killed_in_the_middle_of_a_drain_goes_on_with_it(tmp_path: Path) -> None:
    async def go() -> None:
        async with application(tmp_path / "app", tmp_path / "agent" / "lame-duck") as port:
            config: dict[str, Any] = {"kind": "app", "port": port, "control": f"{HOST}:{port}"}
            async with agent(tmp_path / "agent", **config) as running:
                await running.until_ready()
                await running.lame_duck(True)
            async with agent(tmp_path / "agent", **config) as running:
                assert await running.ready() == "lame duck: a control call"
                await running.lame_duck(False)
                await running.until_ready()

    asyncio.run(go())


def test_an_envoy_is_ready_once_it_has_members_and_confirms_them(tmp_path: Path) -> None:
    async def story() -> None:
        web = Web("runtime-1")
        async with web.running() as instance, through_envoys(tmp_path, contexts.BEHIND, nodes=1) as balancer:
            (node,) = balancer.nodes
            file = tmp_path / "members" / "endpoints.json"
            config: dict[str, Any] = {
                "kind": "envoy",
                "port": node.address.port,
                "control": f"unix:{node.directory}/admin.sock",
                "members": {"runtime": str(file)},
            }
            async with agent(tmp_path / "agent", **config) as running:
                assert await running.ready() == f"no member of runtime has been written to {file} yet"
                document = endpoints("runtime", {"runtime-1": EnvoyEndpoint(instance.address, instance.control, 100)})
                refused = await running.ask("PUT", "/v1/members/other", {})
                assert (refused.status_code, refused.json()["next"]) == (404, "Name the tier under `members`.")
                response = await running.put("/v1/members/runtime", document)
                written = hashlib.sha256(file.read_bytes()).hexdigest()
                assert response.json() == {"sha256": written}
                async with asyncio.timeout(PATIENCE):
                    while (await running.confirmed("runtime")) != {"runtime-1": {"gets_traffic": True, "weight": 100}}:
                        await asyncio.sleep(0.02)
                await running.until_ready()
                assert (await running.status())["members"] == {"runtime": written}

    asyncio.run(story())


def test_a_certificate_of_the_trusted_authority_stands_for_the_token(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own = authority.issue_cert(HOST)
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "agent.pem"))

    async def status(port: int, path: str, client: trustme.LeafCert | None) -> bytes:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if client is not None:
            client.configure_cert(context)
        reader, writer = await asyncio.open_connection(HOST, port, ssl=context)
        writer.write(b"GET %b HTTP/1.1\r\nHost: vm\r\n\r\n" % path.encode())
        line = await reader.readline()
        await reader.read()
        writer.close()
        return line.split()[1]

    async def go() -> None:
        port = sockets.free_port(HOST)
        encrypted = {"certificate": str(tmp_path / "agent.pem"), "client_ca": str(tmp_path / "ca.pem")}
        config: dict[str, Any] = {"kind": "app", "port": port, "control": f"{HOST}:{port}", "token_file": ""}
        async with agent(tmp_path / "agent", **config, **encrypted) as running:
            assert await status(running.port, "/v1/status", authority.issue_cert("controller")) == b"200"
            assert await status(running.port, "/v1/status", None) == b"401"
            assert await status(running.port, "/readyz", None) == b"503"

    asyncio.run(go())


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "0"])
def test_a_control_call_without_the_token_changes_nothing(tmp_path: Path, token: str) -> None:
    async def go() -> None:
        port = sockets.free_port(HOST)
        async with agent(tmp_path / "agent", kind="app", port=port, control=f"{HOST}:{port}") as running:
            for method, path in (("PUT", "/v1/lame-duck"), ("GET", "/v1/status"), ("PUT", "/v1/members/x")):
                refused = await running.ask(method, path, {"on": True}, token=token)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert not running.lame_duck_file.exists()

    asyncio.run(go())


def test_it_takes_less_than_30_mb(tmp_path: Path) -> None:
    """With every kind of question asked, and a margin of 2 MB for the interpreters of other machines."""

    async def go() -> None:
        async with (
            application(tmp_path / "app", tmp_path / "agent" / "lame-duck") as port,
            MetadataServer().running() as at,
        ):
            config: dict[str, Any] = {"kind": "app", "port": port, "control": f"{HOST}:{port}"}
            async with agent(tmp_path / "agent", metadata=at, counts_at="/inflight", **config) as running:
                await running.until_ready()
                for _ in range(100):
                    await asyncio.gather(running.ready(), running.status())
                (pid,) = pids_at(running.port)
                text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
                assert int(text.partition("VmRSS:")[2].split()[0]) < 28 * KIB

    asyncio.run(go())


# -- its command -------------------------------------------------------------------------------------------------------


async def command(folder: Path, *options: str) -> tuple[int | None, str]:
    """Exit code and output of an agent that does not start."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "changeover", "agent", *options),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(PATIENCE):
        output, _ = await child.communicate()
    return child.returncode, output.decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "no.yaml"], "no.yaml: the configuration cannot be read: No such file or directory"),
        (["--config", "folder"], "folder: the configuration cannot be read: Is a directory"),
        (["--config", "bad.yaml"], "bad.yaml:2: "),
        (["--config", "bad.yaml", "--port", "80"], "--config cannot be combined with --port"),
        (["--kind", "nginx", "--port", "80"], "control is missing"),
        (["--kind", "app", "--port", "80"], "control calls need token_file, token_env, or tls with client_ca"),
        (["--kind", "tomcat", "--port", "80"], "--kind: "),
        (["--kind", "app", "--port", "80", "--token-file", "no"], "/no cannot be read: No such file or directory"),
        (["--kind", "app", "--port", "80", "--token-env", "NO_SUCH"], "token_env NO_SUCH holds 0 characters"),
        (["--kind", "app", "--port", "80", "--token-file", "token", "--lame-duck-file", "/proc/x/y"], "/proc/x"),
        (["--kind", "app", "--port", "80", "--token-file", "token", "--listen", "@taken"], "Address already in use"),
        (["--kind", "app", "--port", "80", "--token-file", "token", "--listen", "203.0.113.9:1"], "203.0.113.9:1"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_words(tmp_path: Path, options: list[str], message: str) -> None:
    async def go() -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "bad.yaml").write_text("kind: nginx\nprot: 80\n")
        (tmp_path / "token").write_text(TOKEN)
        async with await asyncio.start_server(lambda reader, writer: None, HOST, 0) as server:
            taken = f"{HOST}:{server.sockets[0].getsockname()[1]}"
            words = [taken if word == "@taken" else word for word in options]
            code, output = await command(tmp_path, *words, *([] if "--config" in words else safe(words)))
        assert (code, "Traceback" in output) == (2, False), output
        assert output.startswith("error: ")
        assert message in " ".join(output.split()), output

    def safe(words: list[str]) -> list[str]:
        return [] if "--lame-duck-file" in words else ["--lame-duck-file", str(tmp_path / "lame-duck")]

    asyncio.run(go())


def test_the_command_becomes_the_agent_and_ends_at_sigterm(tmp_path: Path) -> None:
    async def go() -> None:
        port, listen = two_ports()
        (tmp_path / "token").write_text(TOKEN)
        (tmp_path / "agent.yaml").write_text(
            f"kind: app\nport: {port}\nlisten: {HOST}:{listen}\nmetadata: false\ntimeout: 500ms\n"
            f"token_file: {tmp_path}/token\nlame_duck_file: {tmp_path}/lame-duck\n"
        )
        words = ("-m", "changeover", "agent", "--config", "agent.yaml")
        child = await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd=tmp_path, stderr=asyncio.subprocess.PIPE
        )
        assert child.stderr is not None
        async with asyncio.timeout(PATIENCE):
            line = (await child.stderr.readline()).decode()
            assert f"(app, port {port}): listening on {HOST}:{listen}" in line
            running = RunningAgent(listen, tmp_path / "log", tmp_path / "lame-duck")
            assert (await running.status())["name"]
            child.send_signal(SIGTERM)
            assert await child.wait() == 0
            assert await child.stderr.read() == b""

    asyncio.run(go())
