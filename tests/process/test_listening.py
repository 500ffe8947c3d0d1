"""Applications at a Unix socket or at one that they inherit: gunicorn, uvicorn and Node, rolled into each other."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chain.chains import Chain, running_in, until
from tests.process.test_own_application import asking

ASGI = """
async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
    await send({"type": "http.response.body", "body": b"uvicorn"})
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "8")])
    return [b"gunicorn"]
"""
NODE = """
const server = require("http").createServer((request, response) => {
  const slow = request.url === "/slow";
  if (slow) require("fs").writeFileSync("slow.seen", "");
  setTimeout(() => response.end("node"), slow ? 2000 : 0);
});
server.listen(process.env.SOCKET || { fd: 3 });
process.on("SIGTERM", () => server.close());
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short one: the path of a Unix socket is bounded."""
    with tempfile.TemporaryDirectory(prefix="listen-") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def chain(folder: Path) -> Iterator[Chain]:
    for name, text in {"asgi.py": ASGI, "wsgi.py": WSGI, "server.js": NODE}.items():
        (folder / name).write_text(text)
    gunicorn = [sys.executable, "-m", "gunicorn", "--no-control-socket", "--keep-alive", "65", "wsgi:app"]
    uvicorn = [sys.executable, "-m", "uvicorn", "asgi:app", "--lifespan", "off"]
    node = [shutil.which("node"), "server.js"]
    inherited, unix = {"listen": "inherited"}, {"listen": "unix"}
    templates = {
        "gunicorn": {"command": gunicorn, **inherited},
        "uvicorn": {"command": [*uvicorn, "--fd", "3"], **inherited},
        "node": {"command": node, **inherited},
        "unix-gunicorn": {"command": [*gunicorn, "--bind", "unix:{socket}"], **unix},
        "unix-uvicorn": {"command": [*uvicorn, "--uds", "{socket}"], **unix},
        "unix-node": {"command": node, "env": {"SOCKET": "{socket}"}, **unix},
    }
    with serving(folder, {"name": "edge", "kind": "nginx", "templates": {"v1": {"tls": False}}}, templates) as found:
        yield found


@contextmanager
def serving(folder: Path, front: dict[str, Any], templates: dict[str, Any]) -> Iterator[Chain]:
    app = {
        "name": "app",
        "kind": "app",
        "size": 1,
        "templates": templates,
        "health": {"path": "/", "interval": "100ms"},
        "update": {"min_ready": "100ms", "progress_deadline": "60s"},
    }
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": [{"size": 1, **front}, app]}, sort_keys=False))
    found = Chain(folder, file)
    try:
        found.up()
        yield found
    finally:
        if running_in(folder):
            found.run("down", code=None)


@pytest.mark.parametrize(
    "goals",
    [
        ("node", "unix-gunicorn", "gunicorn"),
        pytest.param(
            ("uvicorn", "node", "unix-gunicorn", "unix-uvicorn", "unix-node", "gunicorn"), marks=pytest.mark.soak
        ),
    ],
    ids=["sample", "all"],
)
def test_each_way_to_listen_is_rolled_into_the_others_without_a_lost_request(
    chain: Chain, goals: tuple[str, ...]
) -> None:
    assert chain.get("/").text == "gunicorn"
    with asking(chain) as answers:
        for goal in goals:
            assert chain.roll("app", goal)["outcome"] == "completed"
            server = goal.removeprefix("unix-")
            until(lambda server=server: answers[-1:] == [server], f"an answer of {goal}")  # type: ignore[misc]
            (instance,) = chain.instances("app", phase="admitted")
            assert instance["address"].endswith("/app.sock") is goal.startswith("unix-")
    assert set(answers) == {goal.removeprefix("unix-") for goal in goals}


def test_a_request_at_a_unix_socket_holds_the_drain_until_it_is_answered(chain: Chain) -> None:
    """No other witness than the sessions of the load balancer shows it."""
    chain.roll("app", "unix-node")
    with ThreadPoolExecutor() as clients:
        slow = clients.submit(chain.get, "/slow")
        until((chain.folder / "slow.seen").exists, "the request at its instance")
        rolled = chain.roll("app", "uvicorn")
        assert slow.result().text == "node"
    (left,) = [one for one in rolled["instances"] if one["template"] == "unix-node"]
    assert (left["died"], left["killed"], left["cut"]) == (False, False, None)


def test_behind_an_envoy_the_kernel_shows_the_request_that_holds_the_drain() -> None:
    """Envoy closes its idle connections to an instance that it removed, so each that is left carries a request."""
    with tempfile.TemporaryDirectory(prefix="listen-") as made:
        (folder := Path(made)).joinpath("server.js").write_text(NODE)
        template = {"command": [shutil.which("node"), "server.js"], "env": {"SOCKET": "{socket}"}, "listen": "unix"}
        templates = {"v1": template, "v2": {**template, "umask": "077"}}
        with serving(folder, {"name": "gateway", "kind": "envoy", "templates": {"v1": {}}}, templates) as chain:
            with asking(chain) as answers, ThreadPoolExecutor() as clients:
                slow = clients.submit(chain.get, "/slow")
                until((folder / "slow.seen").exists, "the request at its instance")
                rolled = chain.roll("app", "v2")
                assert slow.result().text == "node"
            assert set(answers) == {"node"}
            (left,) = [one for one in rolled["instances"] if one["template"] == "v1"]
            assert (left["died"], left["killed"], left["cut"]) == (False, False, None)
