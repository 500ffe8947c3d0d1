"""Applications that listen on a socket of the platform: gunicorn, uvicorn and Node, rolled one into the other."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator

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
const server = require("http").createServer((request, response) => response.end("node"));
server.listen({ fd: 3 });
process.on("SIGTERM", () => server.close());
"""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("inherited")
    for name, text in {"asgi.py": ASGI, "wsgi.py": WSGI, "server.js": NODE}.items():
        (folder / name).write_text(text)
    commands = {
        "gunicorn": [sys.executable, "-m", "gunicorn", "--no-control-socket", "--keep-alive", "65", "wsgi:app"],
        "uvicorn": [sys.executable, "-m", "uvicorn", "asgi:app", "--fd", "3", "--lifespan", "off"],
        "node": [shutil.which("node"), "server.js"],
    }
    tiers = [
        {"name": "edge", "kind": "nginx", "size": 1, "templates": {"v1": {"tls": False}}},
        {
            "name": "app",
            "kind": "app",
            "size": 1,
            "templates": {name: {"command": command, "listen": "inherited"} for name, command in commands.items()},
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


def test_servers_that_inherit_their_socket_are_rolled_without_a_lost_request(chain: Chain) -> None:
    assert chain.get("/").text == "gunicorn"
    with asking(chain) as answers:
        for goal in ("uvicorn", "node", "gunicorn"):
            assert chain.roll("app", goal)["outcome"] == "completed"
            until(lambda goal=goal: answers[-1:] == [goal], f"an answer of {goal}")  # type: ignore[misc]
    assert set(answers) == {"gunicorn", "uvicorn", "node"}
