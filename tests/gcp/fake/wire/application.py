"""What the fake listens to: the Compute API, the VMs' metadata server, and its own control path.

Every request and every answer of the API is compared with the discovery document. A difference is a fault of the client
or of the fake: the call is answered with 400 and `fake: schema: ...`, and the fake's exit code is 1.

| path | |
|---|---|
| `/compute/v1/...` | the API |
| `/readyz`, `/v1/...` | the agents of hollow machines, on each one's address |
| `/computeMetadata/v1/...` | the metadata server, on each VM's address |
| `GET /fake/log` | every call of the API, in order: time, method, arguments, body, status |
| `POST`, `GET`, `DELETE /fake/faults` | see `faults.py` |
| `PUT /fake/actors` | `{"updater": false}` |
| `GET /fake/state` | VMs with their addresses, forwarding rules, violations |
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tests.gcp.fake.machines import metadata
from tests.gcp.fake.machines.hollow import HollowAgents
from tests.gcp.fake.resources import rules
from tests.gcp.fake.resources.operations import unscoped
from tests.gcp.fake.wire.discovery import Call, Discovery
from tests.gcp.fake.wire.errors import ApiError, Json
from tests.gcp.fake.world import World

VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Application:
    def __init__(self, world: World, discovery: Discovery) -> None:
        self._world = world
        self._discovery = discovery
        self._log: list[Json] = []
        self.asgi = Starlette(
            routes=[
                Route("/compute/v1/{path:path}", self._api, methods=VERBS),
                Route("/computeMetadata/v1/{path:path}", self._metadata, methods=["GET"]),
                Route("/readyz", self._agent),
                Route("/v1/{path:path}", self._agent, methods=["GET", "PUT"]),
                Route("/fake/log", self._show_log),
                Route("/fake/faults", self._faults, methods=["GET", "POST", "DELETE"]),
                Route("/fake/actors", self._actors, methods=["PUT"]),
                Route("/fake/state", self._state),
                Route("/{path:path}", self._unknown, methods=VERBS),
            ]
        )

    async def _api(self, request: Request) -> Response:
        authorized = "authorization" in request.headers
        entry: Json = {
            "time": time.time(),
            "verb": request.method,
            "path": request.path_params["path"],
            "authorized": authorized,
        }
        self._log.append(entry)
        await asyncio.sleep(self._world.latency)
        try:
            body = await self._answer(request, entry)
            code = 200
        except ApiError as error:
            body, code = error.body(), error.code
        except Dropped:
            entry["status"] = "dropped"
            # uvicorn's request cycle is what `receive` belongs to; nothing of ASGI closes a connection.
            request.receive.__self__.transport.abort()  # type: ignore[attr-defined]
            return Response(status_code=500)
        entry["status"] = code
        return JSONResponse(body, code)

    async def _answer(self, request: Request, entry: Json) -> Json:
        path = request.path_params["path"]
        call = self._discovery.match(request.method, path)
        if call is None:
            raise self._violation(f"the API has no {request.method} {path}")
        raw = await request.body()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            raise self._violation(f"{call.method}: the body is no JSON") from None
        method = unscoped(call.method)
        collection, verb = method.split(".")
        query = request.query_params.multi_items()
        entry |= {"method": method, "args": dict(call.args), "query": dict(query), "body": body}
        if problems := self._discovery.request_problems(call, query, body):
            raise self._violation(f"{call.method}: {'; '.join(problems)}")
        if request_id := request.query_params.get("requestId"):
            rules.check_request_id(request_id)
        for spec in self._world.faults.acts(method):
            await self._act(spec)
        self._disturb(method, "before")
        answer = await self._carried_out(call, collection, verb, dict(query), body or {})
        if answer.get("kind") == "compute#operation":
            entry["operation"] = answer["name"]
        if problems := self._discovery.response_problems(call, answer):
            raise self._violation(f"{call.method}: the fake's own answer: {'; '.join(problems)}")
        self._disturb(method, "after")
        return answer

    async def _carried_out(self, call: Call, collection: str, verb: str, query: dict[str, str], body: Json) -> Json:
        world = self._world
        if call.args.get("project") != world.project:
            raise ApiError(403, "forbidden", f"Required permission for project '{call.args.get('project')}'")
        if (operation := world.operations.repeated(call, query)) is not None:
            return operation
        return await world.answer(call, collection, verb, query, body)

    def _disturb(self, method: str, when: Any) -> None:
        if self._world.faults.drops(method, when):
            raise Dropped
        if error := self._world.faults.error(method, when):
            raise error

    async def _act(self, spec: Json) -> None:
        """Somebody else's call, at once and without its operation's delay mattering to them."""
        call = self._discovery.match(spec["verb"], spec["path"].partition("?")[0])
        if call is None:
            raise self._violation(f"the API has no {spec['verb']} {spec['path']}")
        query = dict(part.split("=", 1) for part in spec["path"].partition("?")[2].split("&") if part)
        collection, verb = unscoped(call.method).split(".")
        operation = await self._world.answer(call, collection, verb, query, spec.get("body", {}))
        if operation.get("kind") == "compute#operation":
            await self._world.operations.wait(
                self._world.store.get(operation["selfLink"].split("/v1/")[1]), early=False
            )

    def _violation(self, text: str) -> ApiError:
        self._world.faults.violation(text)
        return ApiError(400, "invalid", f"fake: schema: {text}")

    async def _metadata(self, request: Request) -> Response:
        return await metadata.answer(request, self._world.machines.at)

    async def _agent(self, request: Request) -> Response:
        world = self._world
        if world.hollow is None:
            return await self._unknown(request)
        return await HollowAgents(world.hollow, world.machines.at, world.clock.real).answer(request)

    async def _show_log(self, request: Request) -> Response:
        return JSONResponse(self._log)

    async def _faults(self, request: Request) -> Response:
        faults = self._world.faults
        if request.method == "DELETE":
            faults.clear()
        elif request.method == "POST":
            spec = await request.json()
            try:
                for each in spec if isinstance(spec, list) else [spec]:
                    if each.get("do") in {"kill", "preempt"}:
                        await self._world.strike(each)
                    else:
                        faults.add(each)
            except ApiError as error:
                return JSONResponse(error.body(), error.code)
        return JSONResponse(faults.pending())

    async def _actors(self, request: Request) -> Response:
        for name, on in (await request.json()).items():
            if name not in {field.name for field in dataclasses.fields(self._world.actors)}:
                return JSONResponse({"error": f"no actor {name}"}, 400)
            setattr(self._world.actors, name, on)
        return JSONResponse(dataclasses.asdict(self._world.actors))

    async def _state(self, request: Request) -> Response:
        return JSONResponse(self._world.state())

    async def _unknown(self, request: Request) -> Response:
        text = f"{request.method} {request.url.path} is not part of it"
        self._world.faults.violation(text)
        error = rules.refuse_unknown(text)
        return JSONResponse(error.body(), error.code)
