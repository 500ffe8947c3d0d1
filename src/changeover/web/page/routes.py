"""The routes of the page, and of the API below /api, which the page uses for everything that changes.

GET reads; POST acts, and `web.access` has then checked token, origin and size. A command gets only words of the chain
file and of this program: a request cannot add an option to it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from changeover.model.errors import ChangeoverError
from changeover.web.page import rendering
from changeover.web.page.events import Look
from changeover.web.page.openapi import DOCUMENT
from changeover.web.page.rollouts import RolloutView, rollout_view
from changeover.web.page.snapshot import AGE, ChainReader, Snapshot
from changeover.web.page.view import ChainView, chain_view
from changeover.web.page.words import language
from changeover.web.site import Site
from changeover.web.sources import Done, Sources

ACTIONS: Mapping[str, Sequence[str]] = {
    "pause": ["pause"],
    "resume": ["resume"],
    "promote": ["promote"],
    "promote-full": ["promote", "--full"],
    "abort": ["abort"],
    "undo": ["undo"],
    "retry": ["retry"],
    "roll": ["roll"],
}
"""Name in the path -> the words of the command."""
STILL = 10.0
"""Seconds without a change after which a stream sends a comment: proxies end silent connections."""
RECONNECT = 2000
"""Milliseconds after which a browser connects again."""
REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""Of a report: one file with its own styles, in which no script runs and which loads nothing."""
_PLAN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_LOG = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status, self.what = status, what


def routes(site: Site, sources: Sources) -> Sequence[Route | Mount]:
    """The page and the API of the site's chains, which are numbered from 1 as the command names them."""
    page = _Page(site, sources)
    return [
        Route("/", page.first),
        Route("/chains/{chain:int}", _answered(page.chain)),
        Route("/chains/{chain:int}/rollouts/{rollout:int}/report", _answered(page.report)),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        Route("/api/openapi.json", page.openapi),
        Route("/api/chains", _answered(page.chains)),
        Route("/api/chains/{chain:int}", _answered(page.data)),
        Route("/api/chains/{chain:int}/events", _answered(page.events)),
        Route("/api/chains/{chain:int}/rollouts/{rollout:int}", _answered(page.one_rollout)),
        Route("/api/chains/{chain:int}/plan", _answered(page.plan), methods=["POST"]),
        Route("/api/chains/{chain:int}/actions/{action:str}", _answered(page.act), methods=["POST"]),
    ]


def _answered(endpoint: Endpoint) -> Endpoint:
    """The endpoint, with its refusals and the program's errors as JSON, in the shape of docs/json.md."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except _Refused as refused:
            if request.method == "POST":
                _LOG.warning("refused %r: %d, %r", request.url.path[:200], refused.status, refused.what[:200])
            error = {"what": refused.what, "where": "", "state": "Nothing was changed.", "next": ""}
            return JSONResponse({"error": [error], "exit_code": 2}, refused.status)
        except ChangeoverError as failed:
            found = [{"what": p.what, "where": p.where, "state": p.state, "next": p.next} for p in failed.problems]
            return JSONResponse({"error": found, "exit_code": failed.exit_code}, 409)

    return answer


class _Page:
    def __init__(self, site: Site, sources: Sources) -> None:
        self._site, self._sources = site, sources
        self._readers = [ChainReader(folder, sources) for folder in site.states]
        self._reporting = asyncio.Lock()
        self._looks: dict[tuple[int, int | None, str], Look] = {}
        self._rendering = asyncio.Lock()

    # -- what every endpoint needs -------------------------------------------------------------------------------------

    def _number(self, request: Request) -> int:
        number = int(request.path_params["chain"])
        if not 1 <= number <= len(self._readers):
            raise _Refused(404, f"there is no chain {number}: this site has {len(self._readers)}")
        return number

    def _name(self, number: int) -> str:
        folder = self._site.states[number - 1]
        return folder.name if folder.name != ".changeover" else folder.parent.name

    async def _view(self, number: int) -> tuple[Snapshot, ChainView]:
        seen = await self._readers[number - 1].take()
        return seen, chain_view(number, self._name(number), seen)

    async def _rollout(self, number: int, seen: Snapshot, wanted: int | None) -> RolloutView | None:
        """The wanted rollout, otherwise the last one."""
        if wanted is None and not seen.rollouts:
            return None
        read = await self._readers[number - 1].rollout(wanted or seen.rollouts[-1]["id"], seen.at)
        return rollout_view(read.shown, read.part, read.losses, read.samples, read.conditions, seen.at)

    def _chains(self, seen: Sequence[Snapshot]) -> Sequence[tuple[int, str, str]]:
        """Number, name and state of each chain; the state of one that is being rolled is `moving`.

        Chains of one name have their folders beside it.
        """
        views = [chain_view(number, self._name(number), one) for number, one in enumerate(seen, start=1)]
        moving = [any(one["ended"] is None for one in view.history) for view in views]
        known = Counter(view.name for view in views)
        return [
            (
                v.number,
                v.name if known[v.name] == 1 else f"{v.name} ({self._name(v.number)})",
                "moving" if m and v.state == "serving" else v.state,
            )
            for v, m in zip(views, moving, strict=True)
        ]

    async def _look(self, number: int, wanted: int | None, lang: str) -> Look:
        """The page as it is. One rendering serves all clients of a snapshot, and the others wait for it."""
        known = self._looks.get((number, wanted, lang))
        if known is not None and _are_same(known.seen, [reader.fresh for reader in self._readers]):
            return known
        async with self._rendering:
            return await self._render(number, wanted, lang)

    async def _render(self, number: int, wanted: int | None, lang: str) -> Look:
        key = number, wanted, lang
        every = await asyncio.gather(*(reader.take() for reader in self._readers))
        known = self._looks.get(key)
        if known is None or not _are_same(known.seen, every):
            seen = every[number - 1]
            view = chain_view(number, self._name(number), seen)
            rollout = await self._rollout(number, seen, wanted)
            acts = self._site.token is not None
            if len(self._looks) > 100:
                self._looks.clear()
            regions = rendering.regions(view, rollout, self._chains(every), lang, self._site.prefix, acts=acts)
            self._looks[key] = known = Look(every, regions)
        return known

    # -- the page ------------------------------------------------------------------------------------------------------

    async def first(self, _: Request) -> Response:
        return RedirectResponse(f"{self._site.prefix}/chains/1", 303)

    async def chain(self, request: Request) -> Response:
        number, lang, wanted = self._number(request), _language(request), _wanted(request)
        _, view = await self._view(number)
        look = await self._look(number, wanted, lang)
        return HTMLResponse(rendering.page(view, look.regions, lang, self._site.prefix, wanted))

    async def report(self, request: Request) -> Response:
        """The report of `show --html`. One is made at a time: it reads whole ledgers."""
        number = self._number(request)
        async with self._reporting:
            folder, rollout = self._site.states[number - 1], int(request.path_params["rollout"])
            html = await asyncio.to_thread(self._sources.report, folder, rollout)
        return HTMLResponse(html, headers={"Content-Security-Policy": REPORT_POLICY})

    # -- the API: reading ----------------------------------------------------------------------------------------------

    async def openapi(self, _: Request) -> Response:
        return JSONResponse({**DOCUMENT, "servers": [{"url": self._site.prefix or "/"}]})

    async def chains(self, _: Request) -> Response:
        found = []
        for number in range(1, len(self._readers) + 1):
            view = (await self._view(number))[1]
            found.append({"number": number, "name": view.name, "state": view.state, "tier": view.tier})
        return JSONResponse({"chains": found})

    async def data(self, request: Request) -> Response:
        view = (await self._view(self._number(request)))[1]
        return JSONResponse(asdict(view))

    async def one_rollout(self, request: Request) -> Response:
        number = self._number(request)
        seen = await self._readers[number - 1].take()
        rollout = await self._rollout(number, seen, int(request.path_params["rollout"]))
        assert rollout is not None  # a wanted one is there, or `show` has failed
        return JSONResponse(asdict(rollout))

    async def events(self, request: Request) -> Response:
        number, lang, wanted = self._number(request), _language(request), _wanted(request)
        await self._look(number, wanted, lang)  # a rollout that is not there is refused before the stream begins
        stream = self._stream(number, wanted, lang, request.headers.get("last-event-id", ""))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _stream(self, number: int, wanted: int | None, lang: str, last: str) -> AsyncIterator[bytes]:
        """An event has the regions that changed. Its id stands for all of them: a client that has it gets none."""
        before: Look | None = None
        yield f"retry: {RECONNECT}\n\n".encode()
        still = 0.0
        while True:
            try:
                look = await self._look(number, wanted, lang)
            except ChangeoverError as error:  # such as a journal that was deleted
                _LOG.warning("no events of %s: %s", self._site.states[number - 1], " ".join(str(error).split()))
                return
            event = b"" if before is None and look.id == last else look.event(before)
            still += AGE
            if event or still >= STILL:
                still = 0.0
                yield event or b": nothing has changed\n\n"
            before = look
            await asyncio.sleep(AGE)

    # -- the API: acting -----------------------------------------------------------------------------------------------

    async def plan(self, request: Request) -> Response:
        number, asked = self._number(request), await _json(request)
        tier, to = await self._tier(number, asked), asked.get("to")
        seen = await self._readers[number - 1].take()
        if not isinstance(to, str) or to not in seen.templates[tier]:
            raise _Refused(422, f"tier {tier} has no such template: {', '.join(seen.templates[tier])}")
        done = await self._run(request, number, ["plan", tier, "--to", to])
        if done.exit_code not in (0, 4):  # 4: there is something to do
            return _response(done)
        sentences = rendering.plan_sentences(done.data, to, _language(request))
        return JSONResponse({"id": done.data["id"], "sentences": sentences, "plan": done.data})

    async def act(self, request: Request) -> Response:
        number, asked, name = self._number(request), await _json(request), request.path_params["action"]
        if name not in ACTIONS:
            raise _Refused(404, f"there is no such action: {', '.join(ACTIONS)}")
        words = list(ACTIONS[name])
        if name == "roll":
            plan = asked.get("plan")
            if not isinstance(plan, str) or not _PLAN_ID.fullmatch(plan):
                raise _Refused(422, "a roll names the `plan` that it carries out, by its id")
            words += ["--plan", plan, "--detach"]
        elif name != "resume":  # it acts on what is unfinished, and names no tier
            words.append(await self._tier(number, asked))
        return _response(await self._run(request, number, words))

    async def _tier(self, number: int, asked: Mapping[str, Any]) -> str:
        seen = await self._readers[number - 1].take()
        tier = asked.get("tier")
        if not isinstance(tier, str) or tier not in seen.templates:
            raise _Refused(422, f"the chain has no such tier: {', '.join(seen.templates) or 'it is down'}")
        return tier

    async def _run(self, request: Request, number: int, words: Sequence[str]) -> Done:
        client = request.client.host if request.client else "?"
        done = await self._sources.run(self._site.states[number - 1], words)
        came = f"works on as process {done.pid}" if done.exit_code is None else f"exit code {done.exit_code}"
        _LOG.warning("`%s` on chain %d from %s: %s", " ".join(words), number, client, came)
        return done


def _are_same(seen: Sequence[Snapshot], others: Sequence[Snapshot | None]) -> bool:
    return all(one is other for one, other in zip(seen, others, strict=True))


def _response(done: Done) -> Response:
    status = 202 if done.exit_code is None else 409 if "error" in done.data else 200
    return JSONResponse({"exit_code": done.exit_code, "pid": done.pid, **done.data}, status)


def _language(request: Request) -> str:
    return language(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def _wanted(request: Request) -> int | None:
    """The past rollout that is asked for."""
    value = request.query_params.get("rollout")
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value):
        raise _Refused(422, "a rollout has a number")
    return int(value)


async def _json(request: Request) -> Mapping[str, Any]:
    """The object in a request's body. A form of another page cannot send this content type."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise _Refused(415, "an action has a body of type application/json")
    try:
        found = json.loads(await request.body() or b"{}")
    except (ValueError, RecursionError) as error:
        raise _Refused(400, "the body is no JSON") from error
    if not isinstance(found, dict):
        raise _Refused(422, "the body is no JSON object")
    return found
