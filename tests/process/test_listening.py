"""Applications at a Unix socket or at one that they inherit: gunicorn, uvicorn and Node, rolled into each other."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
  setTimeout(() => response.end("node"), request.url === "/slow" ? 2000 : 0);
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
    tiers = [
        {"name": "edge", "kind": "nginx", "size": 1, "templates": {"v1": {"tls": False}}},
        {
            "name": "app",
            "kind": "app",
            "size": 1,
            "templates": templates,
            "health": {"path": "/", "interval": "100ms"},
            "update": {"min_ready": "100ms", "progress_deadline": "20s"},
        },
    ]
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": tiers}, sort_keys=False))
    found = Chain(folder, file)
    try:
        found.up()
        yield found
    finally:
        if running_in(folder):
            found.run("down", code=None)


def test_each_way_to_listen_is_rolled_into_the_others_without_a_lost_request(chain: Chain) -> None:
    assert chain.get("/").text == "gunicorn"
    with asking(chain) as answers:
        for goal in ("uvicorn", "node", "unix-gunicorn", "unix-uvicorn", "unix-node", "gunicorn"):
            assert chain.roll("app", goal)["outcome"] == "completed"
            server = goal.removeprefix("unix-")
            until(lambda server=server: answers[-1:] == [server], f"an answer of {goal}")  # type: ignore[misc]
            (instance,) = chain.instances("app", phase="admitted")
            assert instance["address"].endswith("/app.sock") is goal.startswith("unix-")
    assert set(answers) == {"gunicorn", "uvicorn", "node"}


def test_a_request_at_a_unix_socket_holds_the_drain_until_it_is_answered(chain: Chain) -> None:
    """No other witness than the sessions of the load balancer shows it."""
    chain.roll("app", "unix-node")
    with ThreadPoolExecutor() as clients:
        slow = clients.submit(chain.get, "/slow")
        rolled = chain.roll("app", "uvicorn")
        assert slow.result().text == "node"
    (left,) = [one for one in rolled["instances"] if one["template"] == "unix-node"]
    assert (left["died"], left["killed"], left["cut"]) == (False, False, None)
