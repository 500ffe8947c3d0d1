"""The double answers what a real Kong 3.9.1 was recorded to answer, one request after the other.

In `recorded.jsonl` a name or number that is another one every time stands as it was; it is compared by its shape.
`at` is in seconds since the first request of a run, and is the double's time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.kong.double import Database, Node
from tests.kong.serving import Beside, Listener, ServedNode, beside

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded.jsonl").read_text().splitlines()]
RUNS = sorted({one["run"] for one in RECORDED})
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
HASH = re.compile(r"(?!0{32})[0-9a-f]{32}")
JSON = "application/json; charset=utf-8"
Described = dict[str, Any]


class Replay:
    """One node, two targets that answer as those did that were recorded, and a time that the recording tells."""

    def __init__(self, database: Database | None) -> None:
        self.now = 1_795_390_944.0
        self.node = Node(database, clock=lambda: self.now)
        self.served = ServedNode(self.node, checks=False)
        self.ids: dict[str, str] = {}
        self.client = httpx.Client(trust_env=False)

    def play(self, steps: list[Described], before: Callable[[Described], None] = lambda step: None) -> None:
        with beside(self.served) as running, self.client:
            targets = self._targets(running)
            start = self.now
            try:
                for step in steps:
                    before(step)
                    self._pass(start + step["at"])
                    self._ask(json.loads(self._at(json.dumps(step), targets)))
            finally:
                for listener in targets.values():
                    running.closing.append(listener.close)

    def _targets(self, running: Beside) -> dict[str, Listener]:
        async def opened() -> dict[str, Listener]:
            found = {port: Listener(_target(name)) for port, name in (("18101", "a"), ("18102", "b"))}
            for listener in found.values():
                await listener.open()
            return found

        listeners: dict[str, Listener] = running.do(opened())
        return listeners

    def _at(self, text: str, targets: dict[str, Listener]) -> str:
        """The ports and names of the recording, as they are here."""
        for port, listener in targets.items():
            text = text.replace(port, str(listener.port))
        return UUID.sub(lambda found: self.ids.get(found[0], found[0]), text)

    def _pass(self, until: float) -> None:
        """Time goes by; targets that are checked pass once a second."""
        for _ in range(int(until - self.now)):
            for key in self.node.known["upstreams"]:
                for target in self.node.targets(key):
                    self.node.checked(key, target["target"], True)
        self.now = until

    def _ask(self, step: Described) -> None:
        listener: Listener = getattr(self.served, step["on"])
        headers = {"Content-Type": step["type"]} if "type" in step else {}
        url = f"http://127.0.0.1:{listener.port}{step['path']}"
        content = step.get("body", "").encode() or None
        answer = self.client.request(step["method"], url, headers=headers, content=content)
        assert answer.status_code == step["status"], (step["name"], answer.text)
        wanted = {**({"Content-Type": JSON} if step["answer"] else {}), **step["headers"]}
        for name in ("Content-Type", "Allow", "Via"):
            if step["method"] != "HEAD":
                assert answer.headers.get(name) == wanted.get(name), (step["name"], name)
        assert ("close" in answer.headers.get("Connection", "")) == ("Connection" in wanted), step["name"]
        assert answer.headers["Server"] == "kong/3.9.1"
        reported = json.loads(answer.text) if isinstance(step["answer"], dict) else answer.text
        assert shape(reported) == shape(step["answer"]), step["name"]
        self._learn(step["answer"], reported)

    def _learn(self, recorded: Any, reported: Any) -> None:
        """Whom the recording means by an id."""
        if isinstance(recorded, dict) and isinstance(reported, dict):
            if "id" in recorded and "id" in reported:
                self.ids[recorded["id"]] = reported["id"]
            for name in recorded.keys() & reported.keys():
                self._learn(recorded[name], reported[name])
        elif isinstance(recorded, list) and isinstance(reported, list):
            for one, other in zip(recorded, reported, strict=False):
                self._learn(one, other)


def _target(name: str) -> Any:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        body = json.dumps({"target": name, "bytes": 0, "rid": ""}).encode()
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


def shape(reported: Any) -> Any:
    """An answer without what is another one every time."""
    if isinstance(reported, dict):
        if reported and all(UUID.fullmatch(key) for key in reported):
            return sorted((shape(one) for one in reported.values()), key=lambda one: one.get("target", one.get("name")))
        return {key: _field(key, value) for key, value in reported.items()}
    if isinstance(reported, list):
        return [shape(one) for one in reported]
    if isinstance(reported, str):
        return HASH.sub("HASH", UUID.sub("UUID", "\n".join(line.strip() for line in reported.strip().splitlines())))
    return reported


def _field(key: str, value: Any) -> Any:
    match key:
        case "created_at" | "updated_at":
            return "TIME" if isinstance(value, int | float) else value
        case "memory":
            return "MEMORY"
        case "server":
            return sorted(value)
        case "target" if value in ("a", "b"):
            return "EITHER"  # chance
        case "config" if isinstance(value, str):
            return _unordered(shape(yaml.safe_load(value)))
        case _:
            return shape(value)


def _unordered(document: Described) -> Described:
    """Entities of a dump come in any order, and name their owner by its id alone."""
    return {
        kind: sorted((_named(one) for one in found), key=str) if isinstance(found, list) else found
        for kind, found in document.items()
    }


def _named(entity: Described) -> Described:
    return {
        name: value["id"] if name in ("service", "upstream") and isinstance(value, dict) else value
        for name, value in sorted(entity.items())
    }


# -- the recording -----------------------------------------------------------------------------------------------------


def steps(run: str) -> list[Described]:
    return [one for one in RECORDED if one["run"] == run]


@pytest.fixture
def in_service() -> Replay:
    """A node of a cluster that sends requests to one target."""
    return Replay(Database())


SETUP = [one for one in steps("database") if one["name"].startswith(("upstream-create", "target-create-a", "service-", "route-"))][:-1]  # fmt: skip  # noqa: E501


def test_with_a_database(in_service: Replay) -> None:
    def before(step: Described) -> None:
        if step["name"] == "both-unhealthy-a":  # the recording gave both their weight back, and did not record that
            assert in_service.node.database is not None
            for target in in_service.node.database.data["targets"].values():
                target["weight"] = 100
            in_service.node.database.changed(in_service.node)

    in_service.play(steps("database"), before)


def test_with_documents() -> None:
    Replay(None).play(steps("memory"))


def test_draining_ends_with_a_reload(in_service: Replay) -> None:
    def before(step: Described) -> None:
        if step["name"] == "status-ready-draining-after-reload":
            in_service.node.draining = False

    in_service.play([*SETUP, *steps("draining")], before)


def test_a_node_whose_database_is_down_goes_on_serving(in_service: Replay) -> None:
    database = in_service.node.database
    assert database is not None

    def before(step: Described) -> None:
        if step["run"] == "database down":
            database.reachable = "back" in step["name"]

    in_service.play([*SETUP, *steps("database down")], before)


def test_every_run_is_replayed() -> None:
    assert RUNS == ["database", "database down", "draining", "memory"]


def test_what_was_not_recorded_is_refused(in_service: Replay) -> None:
    with pytest.raises(AssertionError, match="GET /plugins"), beside(in_service.served):
        assert httpx.get(f"{in_service.served.admin_url}/plugins", trust_env=False).status_code == 501


def test_a_double_that_answers_otherwise_is_noticed(in_service: Replay) -> None:
    steps = [{**SETUP[0], "status": 200}]
    with pytest.raises(AssertionError, match="upstream-create"):
        in_service.play(steps)
