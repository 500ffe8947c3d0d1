"""`changeover probe URL -- COMMAND` against a real HAProxy: a plain restart loses requests, a drained one does not.

Two web servers of one file stand behind HAProxy. The deploy command restarts both: plainly, or each one after HAProxy
has drained it through its runtime API. It is a script of a few lines, as teams have them.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from changeover.cli import exits
from changeover.platforms.local.haproxy import binary

PATIENCE = 60.0
"""Seconds until a probe counts as stuck; a run takes about ten."""

WEB = """
import os, signal, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        time.sleep(0.02)  # a restart must meet requests
        body = b"ok"
        self.send_response(200)
        self.send_header("X-Release", sys.argv[2])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
class Server(ThreadingHTTPServer):
    request_queue_size = 512
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

DEPLOY = """
import os, signal, socket, subprocess, sys, time
how, ports = sys.argv[1], sys.argv[2:]
def haproxy(command):
    with socket.socket(socket.AF_UNIX) as line:
        line.connect("admin.sock")
        line.sendall(command.encode() + b"\\n")
        return b"".join(iter(lambda: line.recv(65536), b"")).decode()
def sessions(name):
    rows = [row.split(",") for row in haproxy("show stat").splitlines()]
    return next(int(row[4]) for row in rows if row[:2] == ["web", name])
def serves(port):
    try:
        socket.create_connection(("127.0.0.1", int(port)), 1).close()
        return True
    except OSError:
        return False
def until(look):
    deadline = time.monotonic() + 40
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)
for port in ports:
    if how == "drained":
        haproxy(f"set server web/{port} state drain")
        until(lambda: sessions(port) == 0)
    with open(f"{port}.pid") as file:
        os.kill(int(file.read()), signal.SIGTERM)
    until(lambda: not serves(port))
    if how == "plain":
        time.sleep(0.3)  # what a restart takes
    log = open(f"{port}.log", "w")
    new = subprocess.Popen([sys.executable, "web.py", port, "v2"], start_new_session=True, stdout=log, stderr=log)
    with open(f"{port}.pid", "w") as file:
        file.write(str(new.pid))
    until(lambda: serves(port))
    haproxy(f"set server web/{port} state ready")
print("deployed", os.environ["RELEASE"])
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serves(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Site:
    folder: Path
    url: str
    ports: tuple[int, int]

    def deploy(self, how: str) -> list[str]:
        return [sys.executable, "deploy.py", how, *map(str, self.ports)]

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "changeover", "probe", *words],
            cwd=self.folder,
            env={**os.environ, "RELEASE": "v2", "COLUMNS": "1000"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def probe(self, *words: str) -> subprocess.CompletedProcess[str]:
        with self.start(*words) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "web.py").write_text(WEB)
    (tmp_path / "deploy.py").write_text(DEPLOY)
    front, *ports = free_port(), free_port(), free_port()
    servers = "".join(f"    server {port} 127.0.0.1:{port}\n" for port in ports)
    (tmp_path / "haproxy.cfg").write_text(
        f"global\n    stats socket unix@admin.sock level admin\ndefaults\n    mode http\n    retries 0\n"
        f"    timeout connect 1s\n    timeout client 30s\n    timeout server 30s\n"
        f"listen web\n    bind 127.0.0.1:{front}\n{servers}"
    )
    first = []
    for port in ports:
        web = subprocess.Popen([sys.executable, "web.py", str(port), "v1"], cwd=tmp_path, start_new_session=True)
        (tmp_path / f"{port}.pid").write_text(str(web.pid))
        first.append(web)
    proxy = subprocess.Popen([binary(), "-f", "haproxy.cfg", "-db"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not all(map(serves, (front, *ports))):
            assert proxy.poll() is None
            assert time.monotonic() < deadline
        yield Site(tmp_path, f"http://127.0.0.1:{front}", (ports[0], ports[1]))
    finally:
        proxy.terminate()
        proxy.wait()
        for port in ports:
            os.kill(int((tmp_path / f"{port}.pid").read_text()), signal.SIGTERM)
        for web in first:
            web.wait()


FAST = ("--get", "/", "--rate", "100", "--steady", "1s", "--version-header", "X-Release")


def test_a_drained_restart_behind_haproxy_loses_nothing_and_both_versions_are_seen(site: Site) -> None:
    done = site.probe(site.url, *FAST, "--json", "--", *site.deploy("drained"))
    assert done.returncode == exits.DONE, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["clean"]
    assert list(found["versions"]) == ["v1", "v2"]
    assert "deployed v2" in done.stderr  # with --json, standard output holds the verdict alone
    ran = found["command"]
    assert ran["exit_code"] == 0
    assert ran["started"] < found["versions"]["v2"]["first"] < ran["steady_again"]
    assert found["versions"]["v1"]["last"] < ran["ended"]
    assert not (site.folder / ".changeover").exists()


def test_a_plain_restart_behind_haproxy_loses_requests_and_exits_with_3(site: Site) -> None:
    done = site.probe(site.url, *FAST, "--", *site.deploy("plain"))
    assert done.returncode == exits.INTERRUPTED, done.stderr
    assert "deployed v2" in done.stdout
    assert "status 503" in done.stdout
    assert "exit code 0 after" in done.stdout


def test_the_code_of_a_failed_command_is_passed_on_where_nothing_broke(site: Site) -> None:
    done = site.probe(site.url, *FAST, "--", "sh", "-c", "exit 9")
    assert done.returncode == 9, done.stderr


def test_a_signal_goes_on_to_the_command(site: Site) -> None:
    script = "trap 'echo passed on; exit 5' TERM; echo trapped; while :; do sleep 0.05; done"
    with site.start(site.url, *FAST, "--", "sh", "-c", script) as probe:
        assert probe.stdout is not None
        assert probe.stdout.readline() == "trapped\n"
        probe.send_signal(signal.SIGTERM)
        out, err = probe.communicate(timeout=PATIENCE)
    assert out.startswith("passed on\n"), err
    assert probe.returncode == 5


def test_a_server_that_never_answers_ends_the_probe_before_the_command_is_run(site: Site) -> None:
    nothing = f"http://127.0.0.1:{free_port()}"
    done = site.probe(nothing, *FAST, "--json", "--", "touch", "was-run")
    assert done.returncode == exits.COULD_NOT
    (problem,) = json.loads(done.stdout)["error"]
    assert "connect refused; no successful get" in problem["what"]
    assert problem["state"] == "The command was not run."
    assert not (site.folder / "was-run").exists()


def test_a_page_that_is_not_there_is_found_before_the_command_is_run(site: Site) -> None:
    done = site.probe(site.url, *FAST, "--get", "/gone status=204", "--", "touch", "was-run")
    assert done.returncode == exits.COULD_NOT, done.stderr
    assert "status 200; /gone never succeeded" in done.stderr
    assert not (site.folder / "was-run").exists()
