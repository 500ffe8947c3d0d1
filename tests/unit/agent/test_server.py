"""Every request gets one answer in JSON, with what to do next where it is an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from changeover.agent.access import Access
from changeover.agent.config import AgentConfig
from changeover.agent.lame_duck import LameDuck
from changeover.agent.look import Software
from changeover.agent.members import Members
from changeover.agent.server import Server
from changeover.agent.service import Agent
from changeover.hops.questions import Questions
from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse
from changeover.model.instance import Address, InFlight, Instance
from changeover.ports import Unknown

TOKEN = "0123456789abcdef"
AUTHORISED = f"Authorization: Bearer {TOKEN}\r\n"
INSTANCE = Instance("vm-1", "", "", Address("", 1), Address("127.0.0.1", 1))


class Fake:
    """Software that answers as a test says, and notes each lame duck."""

    def __init__(self) -> None:
        self.status: int | NoResponse = 200
        self.in_flight: InFlight | Unknown | None = InFlight(2, 0)
        self.heard: list[bool] = []
        self.deaf = False
        self.asked = 0
        self.questions = Questions("/readyz", self._count, ask=self._ask, lame_duck=self._lame_duck)

    async def _ask(
        self, client: Any, method: str, instance: Instance, path: str, headers: Any = None
    ) -> DirectResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.status, NoResponse):
            raise self.status
        return DirectResponse(self.status, {}, b"")

    async def _count(self, client: Any, instance: Instance, at: str) -> InFlight | None:
        if isinstance(self.in_flight, Unknown):
            raise self.in_flight
        return self.in_flight

    async def _lame_duck(self, client: Any, instance: Instance, on: bool) -> None:
        if self.deaf:
            raise Unknown("the software does not hear")
        self.heard.append(on)


class Running:
    def __init__(self, folder: Path, fake: Fake) -> None:
        token = folder / "token"
        token.write_text(TOKEN + "\n")
        self.token, self.fake, self.file = token, fake, folder / "lame-duck"
        client = DirectClient()
        software = Software(INSTANCE, fake.questions, client, "")
        lame_duck = LameDuck(self.file)
        lame_duck.open()
        self.agent = Agent("app", software, lame_duck, Members({"runtime": folder / "m.json"}, client, INSTANCE))
        (folder / "m.json").write_text(MEMBERS)
        access = Access(AgentConfig("app", 1, "", token_file=str(token)))
        self._server = Server(self.agent, access)

    async def send(self, text: str | bytes) -> tuple[int, Any]:
        """Status and document of the answer to these bytes."""
        async with await asyncio.start_server(self._server.serve, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(text.encode() if isinstance(text, str) else text)
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
        return int(head.split()[1]), json.loads(body) if body else None

    async def ask(self, method: str, path: str, body: str = "", head: str = AUTHORISED) -> tuple[int, Any]:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return await self.send(f"{method} {path} HTTP/1.1\r\nHost: vm\r\n{head}{length}\r\n{body}")


MEMBERS = json.dumps(
    {
        "resources": [
            {
                "cluster_name": "runtime",
                "endpoints": [
                    {
                        "lb_endpoints": [
                            {
                                "endpoint": {
                                    "address": {"socket_address": {"address": "10.0.0.2", "port_value": 80}},
                                    "health_check_config": {"port_value": 9180},
                                    "hostname": "runtime-1",
                                },
                                "load_balancing_weight": 1,
                            }
                        ]
                    }
                ],
            }
        ]
    }
)


def run(folder: Path, story: Callable[[Running], Awaitable[None]], fake: Fake | None = None) -> None:
    async def go() -> None:
        async with asyncio.timeout(20):
            await story(Running(folder, fake or Fake()))

    asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "path", "body", "head", "status", "error"),
    [
        ("GET", "/", "", AUTHORISED, 404, "there is nothing at /"),
        ("GET", "/v1/members/edge", "", AUTHORISED, 404, "this agent keeps no members of 'edge'"),
        ("POST", "/v1/status", "", AUTHORISED, 405, "POST is not for this path"),
        ("GET", "/v1/lame-duck", "", AUTHORISED, 405, "GET is not for this path"),
        ("DELETE", "/readyz", "", "", 405, "DELETE is not for this path"),
        ("GET", "/v1/status", "", "", 401, "needs the token"),
        ("GET", "/v1/other", "", "", 401, "needs the token"),
        ("GET", "/v1/status", "", f"Authorization: Basic {TOKEN}\r\n", 401, "needs the token"),
        ("GET", "/v1/status", "", f"Authorization: Bearer {TOKEN[:-1]}\r\n", 401, "needs the token"),
        ("GET", "/v1/status", "", "Authorization: Bearer \r\n", 401, "needs the token"),
        ("PUT", "/v1/lame-duck", "", AUTHORISED, 400, "this is no lame duck"),
        ("PUT", "/v1/lame-duck", "{}", AUTHORISED, 400, "this is no lame duck"),
        ("PUT", "/v1/lame-duck", '{"on": 1}', AUTHORISED, 400, "this is no lame duck"),
        ("PUT", "/v1/lame-duck", "[]", AUTHORISED, 400, "this is no lame duck"),
        ("PUT", "/v1/lame-duck", "", AUTHORISED + "Transfer-Encoding: chunked\r\n", 411, "no Content-Length"),
        ("PUT", "/v1/members/runtime", "", AUTHORISED + "Content-Length: 99999999\r\n", 413, "more than"),
        ("PUT", "/v1/members/runtime", "{", AUTHORISED, 400, "the list was not written"),
        ("PUT", "/v1/members/runtime", MEMBERS.replace("runtime", "edge"), AUTHORISED, 400, "of 'edge', and not of"),
    ],
)
def test_what_is_not_done_is_said_with_what_to_do_next(
    tmp_path: Path, method: str, path: str, body: str, head: str, status: int, error: str
) -> None:
    async def story(running: Running) -> None:
        code, document = await running.ask(method, path, body, head)
        assert (code, error in document["error"], bool(document["next"])) == (status, True, True), document
        assert running.fake.heard == []

    run(tmp_path, story)


@pytest.mark.parametrize("text", ["GET /readyz HTTP/1.1\r\n\r\n", "\x16\x03\x01 x\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_gets_an_answer_of_its_own(tmp_path: Path, text: str) -> None:
    async def story(running: Running) -> None:
        code, document = await running.send(text)
        assert (code, "error" in document) == (400, True)

    run(tmp_path, story)


def test_an_answer_to_head_has_no_body(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        assert await running.ask("HEAD", "/readyz", head="") == (200, None)
        running.fake.status = 503
        assert await running.ask("HEAD", "/readyz", head="") == (503, None)

    run(tmp_path, story)


def test_software_that_answers_otherwise_is_alive_and_not_ready(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.fake.status = 503
        assert await running.ask("GET", "/readyz", head="") == (
            503,
            {"ready": False, "reason": "GET /readyz answered 503, and not 200"},
        )
        assert (await running.ask("GET", "/livez", head=""))[0] == 200
        running.fake.status = NoResponse("GET x: refused")
        code, document = await running.ask("GET", "/livez", head="")
        assert (code, document["reason"]) == (503, "the software is not up: GET x: refused")

    run(tmp_path, story)


def test_a_new_token_holds_from_the_next_call_on(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.token.write_text("another-token-of-this-agent")
        assert (await running.ask("GET", "/v1/status"))[0] == 401
        other = "Authorization: bearer another-token-of-this-agent\r\n"
        assert (await running.ask("GET", "/v1/status", head=other))[0] == 200
        running.token.unlink()
        assert (await running.ask("GET", "/v1/status", head=other))[0] == 500
        assert (await running.ask("GET", "/readyz", head=""))[0] == 200

    run(tmp_path, story)


def test_a_count_that_the_software_does_not_give_is_unknown_and_never_zero(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.fake.in_flight = Unknown("/inflight answered 500")
        status = (await running.ask("GET", "/v1/status"))[1]
        assert (status["in_flight"], status["unknown"]) == (None, "/inflight answered 500")
        running.fake.in_flight = InFlight(2, 0)
        status = (await running.ask("GET", "/v1/status"))[1]
        assert (status["in_flight"]["requests"], status["unknown"]) == (2, None)
        running.fake.in_flight = None
        status = (await running.ask("GET", "/v1/status"))[1]
        assert status["in_flight"] == {"requests": None, "connections": 0, "uploads": []}

    run(tmp_path, story)


def test_a_lame_duck_that_the_software_does_not_hear_of_is_an_error_and_holds(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        running.fake.deaf = True
        code, document = await running.ask("PUT", "/v1/lame-duck", '{"on": true}')
        assert (code, document["error"]) == (503, "the software does not hear")
        assert (await running.ask("GET", "/readyz", head=""))[0] == 503
        running.fake.deaf = False
        assert (await running.ask("PUT", "/v1/lame-duck", '{"on": true}'))[0] == 200
        running.fake.deaf = True
        assert (await running.ask("PUT", "/v1/lame-duck", '{"on": false}'))[0] == 503
        assert (await running.ask("GET", "/readyz", head=""))[0] == 503
        running.fake.deaf = False
        assert (await running.ask("PUT", "/v1/lame-duck", '{"on": false}'))[0] == 200
        assert running.fake.heard == [True, False]
        assert (await running.ask("GET", "/readyz", head=""))[0] == 200

    run(tmp_path, story)


def test_the_software_hears_of_a_notice_until_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("changeover.agent.service.AGAIN", 0.01)

    async def story(running: Running) -> None:
        running.fake.deaf = True
        running.agent.notice("the VM is stopping", True)
        await asyncio.sleep(0)
        assert (await running.ask("GET", "/readyz", head=""))[0] == 503
        running.fake.deaf = False
        async with asyncio.timeout(10):
            while running.fake.heard != [True]:
                await asyncio.sleep(0.005)
        assert (await running.ask("PUT", "/v1/lame-duck", '{"on": true}'))[0] == 200
        running.agent.notice("the VM is stopping", False)
        async with asyncio.timeout(10):
            while (await running.ask("GET", "/v1/status"))[1]["reason"] != "lame duck: a control call":
                await asyncio.sleep(0.005)

    run(tmp_path, story)


def test_questions_that_come_together_ask_the_software_once(tmp_path: Path) -> None:
    async def story(running: Running) -> None:
        await asyncio.gather(*(running.agent.readiness() for _ in range(10)))
        assert running.fake.asked == 1

    run(tmp_path, story)
