"""The page's API and its actions: what is refused runs no command, and what is done is a command in its own words."""

from __future__ import annotations

import asyncio
import re
import shutil
import string
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from tests.unit.cli.standing import StandingChain, standing_chain
from tests.unit.web.asked import ask

from changeover.cli import page_sources
from changeover.engine.figures import FiguresStore, GuardSample
from changeover.engine.journal.records import LogLine, Outcome
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow, RequestOutcome
from changeover.report.verify import read_report
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import ANSWERS, TierStatus
from changeover.rollout.tier.requests import NO_STEP, NO_WAY
from changeover.rollout.tier.state import Holding, Paused, Rolling, Rollout, State, TierState, Undoing
from changeover.web.app import create_app
from changeover.web.page import openapi, snapshot, terms
from changeover.web.page import routes as page_routes
from changeover.web.page.routes import _Page, routes
from changeover.web.page.words import CHINESE, ENGLISH, language
from changeover.web.site import Site
from changeover.web.sources import Data, Done, Sources

TOKEN = "0123456789abcdef"
BEARER = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}

ran: list[Sequence[str]] = []


async def run(_: Path, words: Sequence[str]) -> Done:
    ran.append(words)
    return Done(0, 7, {"tier": "runtime", "action": words[0], "answer": "yes"})


async def status(state: Path) -> Data:
    return await page_sources.status(state)


READ = page_sources.SOURCES
SOURCES = Sources(status, READ.history, READ.show, READ.report, run)


@pytest.fixture
def chain(tmp_path: Path) -> StandingChain:
    """The runtime is being rolled, and is paused; a request broke."""
    ran.clear()
    standing = standing_chain(tmp_path)
    with standing.controlled("roll") as journal:
        now = time.time()
        row = journal.begin_rollout(now - 100, "runtime", "v1", "v2")
        state = TierState("v2", Paused("an operator asked for it", Rolling(Rollout("v1"))))
        lines = [
            LogLine("command", "create instance: template v2", "runtime-v2-3"),
            LogLine("phase", "creating -> warming: became ready", "runtime-v2-3"),
            LogLine("interruption", "2 requests <broke>", ""),
        ]
        member = Member("runtime-v2-3", "v2", 3, Phase.WARMING, {Phase.WARMING: now})
        journal.write_step(now - 40, "runtime", state, [member], lines)
        assert row.id == 1
    return standing


def site(chain: StandingChain, token: str | None = TOKEN, prefix: str = "") -> Starlette:
    return create_app(Site([chain.state], token, prefix, sources=SOURCES))


def test_the_api_says_what_status_says_and_what_happened(chain: StandingChain) -> None:
    data: Any = ask(site(chain), "GET", "/api/chains/1").json()
    said = chain.run("status", "--json").json
    assert (data["name"], data["state"]) == (said["chain"], said["state"])
    assert [(tier["name"], tier["serving"], tier["size"]) for tier in data["tiers"]] == [
        (tier["name"], tier["serving"], tier["size"]) for tier in said["tiers"]
    ]
    assert data["history"] == list(reversed(chain.run("history", "--json").json["rollouts"]))
    rollout: Any = ask(site(chain), "GET", "/api/chains/1/rollouts/1").json()
    (row,) = rollout["rows"]
    assert (row["name"], row["side"], [span["phase"] for span in row["spans"]]) == (
        "runtime-v2-3",
        "new",
        ["creating", "warming"],
    )
    assert rollout["marks"][0]["at"] == pytest.approx(60, abs=1)


def test_without_a_controller_the_page_says_so_and_what_continues_the_rollout(chain: StandingChain) -> None:
    page = ask(site(chain), "GET", "/chains/1").text
    assert "No controller works on the rollout of runtime" in page
    assert "2 requests &lt;broke&gt;" in page
    assert "<broke>" not in page


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_has_no_inline_script_or_style_and_stays_below_its_prefix(chain: StandingChain, lang: str) -> None:
    page = ask(site(chain, prefix="/co"), "GET", f"/co/chains/1?lang={lang}").text
    assert f'<html lang="{lang}">' in page
    assert "style=" not in page
    assert "<script>" not in page
    assert 'href="/co/static/page.css"' in page
    assert 'src="/co/static/page.js"' in page
    assert 'href="/chains' not in page


def test_a_lost_request_of_a_probe_is_shown(chain: StandingChain) -> None:
    FiguresStore(chain.state).add(
        {("probe_requests_total", ("get", "ok")): 10, ("probe_requests_total", ("get", "lost")): 1}
    )
    assert "1 of 11 requests broke (1 lost" in ask(site(chain), "GET", "/chains/1").text


def test_the_samples_of_a_guard_are_shown_although_no_client_looked_when_they_were_taken(chain: StandingChain) -> None:
    now, missing = time.time(), "the canary answered <nothing>"
    FiguresStore(chain.state).record(
        [
            GuardSample("runtime", "few/broken", now - 50, 0.125, None, 0.25, 5.0, ""),
            GuardSample("runtime", "few/broken", now - 45, None, None, 0.25, 5.0, missing),
        ]
    )
    (guard,) = ask(site(chain), "GET", "/api/chains/1/rollouts/1").json()["guards"]
    assert [point["value"] for point in guard["points"]] == [0.125, None]
    page = ask(site(chain), "GET", "/chains/1").text
    assert "runtime: few/broken" in page
    assert "the canary answered &lt;nothing&gt;" in page
    assert "no value" in page
    assert guard["silent"] >= 45
    assert "No sample for " in page


def test_chains_of_one_name_are_told_apart_by_their_folders(chain: StandingChain, tmp_path: Path) -> None:
    for folder in ("north", "south"):
        shutil.copytree(chain.state, tmp_path / folder / ".changeover")
    states = [tmp_path / folder / ".changeover" for folder in ("north", "south")]
    page = ask(create_app(Site(states, sources=SOURCES)), "GET", "/chains/1").text
    name = chain.run("status", "--json").json["chain"]
    assert f"{name} (north)" in page
    assert f"{name} (south)" in page
    assert f"{name} (" not in ask(site(chain), "GET", "/chains/1").text


def test_an_action_runs_its_command(chain: StandingChain) -> None:
    assert ask(site(chain), "POST", "/api/chains/1/actions/promote-full", BEARER, b'{"tier": "runtime"}').is_success
    assert ask(site(chain), "POST", "/api/chains/1/actions/resume", BEARER, b"{}").is_success
    assert ran == [["promote", "--full", "runtime"], ["resume"]]


REFUSED: dict[str, tuple[str, dict[str, str], bytes, int]] = {
    "no token": ("actions/pause", {"Content-Type": "application/json"}, b'{"tier": "runtime"}', 401),
    "a wrong token": ("actions/pause", {**BEARER, "Authorization": "Bearer no"}, b'{"tier": "runtime"}', 401),
    "a foreign origin": ("actions/pause", {**BEARER, "Origin": "https://evil.example"}, b'{"tier": "runtime"}', 403),
    "a form": ("actions/pause", {**BEARER, "Content-Type": "text/plain"}, b'{"tier": "runtime"}', 415),
    "a long body": ("actions/pause", BEARER, b" " * 70_000, 413),
    "no JSON": ("actions/pause", BEARER, b"{", 400),
    "deep JSON": ("actions/pause", BEARER, b"[" * 60_000, 400),
    "no object": ("actions/pause", BEARER, b"[]", 422),
    "an option for a tier": ("actions/pause", BEARER, b'{"tier": "--file=/etc/passwd"}', 422),
    "an unknown tier": ("actions/abort", BEARER, b'{"tier": "../runtime"}', 422),
    "an unknown action": ("actions/down", BEARER, b'{"tier": "runtime"}', 404),
    "an unknown template": ("plan", BEARER, b'{"tier": "runtime", "to": "--all"}', 422),
    "a roll without a plan": ("actions/roll", BEARER, b'{"tier": "runtime"}', 422),
    "an option for a plan": ("actions/roll", BEARER, b'{"plan": "--all"}', 422),
    "a path for a plan": ("actions/roll", BEARER, b'{"plan": "../x"}', 422),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_runs_nothing(chain: StandingChain, case: str) -> None:
    path, headers, body, status_code = REFUSED[case]
    assert ask(site(chain), "POST", f"/api/chains/1/{path}", headers, body).status_code == status_code
    assert ran == []


def test_a_site_without_a_token_refuses_every_action(chain: StandingChain) -> None:
    read_only = site(chain, token=None)
    assert ask(read_only, "POST", "/api/chains/1/actions/pause", BEARER, b'{"tier": "runtime"}').status_code == 403
    assert "This page is read-only" in ask(read_only, "GET", "/chains/1").text
    assert ran == []


@pytest.mark.parametrize(
    "path", ["/api/chains/0", "/api/chains/2", "/chains/2", "/static/../routes.py", "/static/%2e%2e/routes.py"]
)
def test_there_is_nothing_beside_the_site(chain: StandingChain, path: str) -> None:
    assert ask(site(chain), "GET", path).status_code == 404


def test_the_description_is_valid_and_has_every_route_of_the_api() -> None:
    validate(dict(openapi.DOCUMENT))
    had = {
        (route.path.replace(":int", "").replace(":str", ""), method.lower())
        for route in routes(Site([]), SOURCES)
        if isinstance(route, Route) and route.path.startswith("/api")
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert had == {(path, method) for path, methods in openapi.DOCUMENT["paths"].items() for method in methods}


def test_both_languages_say_the_same() -> None:
    def facts(text: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    assert {key: facts(text) for key, text in ENGLISH.items()} == {key: facts(text) for key, text in CHINESE.items()}


def test_each_phase_status_outcome_and_answer_has_its_chinese_words_and_there_are_no_others() -> None:
    answers = {one.text for one in (*ANSWERS.values(), NO_STEP, NO_WAY)} | {terms.NEW_CONTROLLER}
    assert set(terms.CHINESE) == {*Phase, "dead", *TierStatus, *get_args(Outcome), *answers}


def test_the_chinese_page_says_in_chinese_what_an_action_does(chain: StandingChain) -> None:
    page = ask(site(chain), "GET", "/chains/1?lang=zh").text
    assert "已暂停" in page
    assert "从停下之处继续" in page
    assert "goes on where it stopped" not in page


@pytest.mark.parametrize(
    ("asked", "accepted", "is_"), [("zh", "en", "zh"), (None, "fr, zh-CN;q=0.8, en", "zh"), ("xx", "", "en")]
)
def test_the_language_is_that_of_the_url_or_of_the_browser(asked: str | None, accepted: str, is_: str) -> None:
    assert language(asked, accepted) == is_


def events(chain: StandingChain, last: bytes, until: bytes) -> str:
    """What a stream of events has sent until it has sent that. `last`: the Last-Event-ID of its client."""

    async def first() -> str:
        found = b""
        endpoint = next(r for r in routes(Site([chain.state]), SOURCES) if getattr(r, "path", "").endswith("/events"))
        assert isinstance(endpoint, Route)
        headers = [(b"last-event-id", last)] if last else []
        scope = {"type": "http", "path_params": {"chain": 1}, "query_string": b"", "headers": headers}
        response: Any = await endpoint.endpoint(Request(scope))
        async for part in response.body_iterator:
            found += part
            if until in found:
                break
        return found.decode()

    return asyncio.run(first())


def test_an_event_has_the_regions_and_an_id_and_a_client_that_has_it_gets_none_again(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chain.controlled("roll") as journal:
        journal.end_rollout(1, time.time(), "undone", "")  # one in progress counts its seconds
    text = events(chain, b"", b"event:")
    assert text.startswith("retry: ")
    assert "event: regions\n" in text
    monkeypatch.setattr(page_routes, "STILL", 0.0)
    number = re.findall("^id: (.*)$", text, re.M)[0]
    again = events(chain, number.encode(), b": nothing has changed")
    assert "event:" not in again
    assert "event: regions\n" in events(chain, b"another", b"event:")


def test_clients_that_ask_at_once_share_one_rendering(chain: StandingChain) -> None:
    shown: list[int] = []

    def show(state: Path, number: int) -> Data:
        shown.append(number)
        time.sleep(0.05)  # all of them ask before the first one has its answer
        return READ.show(state, number)

    page = _Page(Site([chain.state], TOKEN), replace(SOURCES, show=show))

    async def twenty() -> list[object]:
        return list(await asyncio.gather(*(page._look(1, None, "en") for _ in range(20))))

    regions = asyncio.run(twenty())
    assert all(one is regions[0] for one in regions)
    assert shown == [1]


@pytest.mark.parametrize("ends", get_args(Outcome))
def test_page_report_and_show_have_the_same_numbers_of_a_rollout(chain: StandingChain, ends: Outcome) -> None:
    now = time.time()
    sent: list[tuple[float, RequestOutcome]] = [
        (200, "lost"),
        (90, "ok"),
        (80, "lost"),
        (60, "duplicated"),
        (-3, "lost"),
    ]
    with Ledger(chain.state / "ledgers/probe.jsonl", ["get"]) as ledger:
        for ago, outcome in sent:
            at = now - ago
            ledger.record(LedgerRow("get", "/", at, at, at, "fresh", outcome, reason="reset"))
    with chain.controlled("roll") as journal:
        journal.end_rollout(1, now, ends, "an operator asked for it")
    page: Any = ask(site(chain), "GET", "/api/chains/1/rollouts/1").json()
    shown = chain.run("show", 1, "--json").json["rollout"]
    file = chain.folder / "report.html"
    chain.run("show", 1, "--html", file)
    report = read_report(file.read_text(), str(file))
    (part,) = report.rollouts
    assert part.ended is not None
    assert report.requests is not None
    assert (page["source"], page["goal"]) == (shown["from"], shown["to"]) == (part.from_template, part.to_template)
    assert (page["outcome"], page["reason"]) == (shown["outcome"], shown["reason"]) == (part.outcome, part.reason)
    assert page["seconds"] == pytest.approx(shown["ended"] - shown["started"])
    assert page["seconds"] == pytest.approx(part.ended - part.started)
    assert page["interruptions"] == shown["interruptions"] == list(part.broke)
    assert page["deaths"] == shown["deaths"] == len(part.deaths)
    verdict, broken = report.requests.verdict, {one["outcome"]: one["number"] for one in page["broken"]}
    assert broken == {"lost": 2, "duplicated": 1} == {"lost": verdict.lost, "duplicated": verdict.duplicated}
    assert [one["name"] for one in page["rows"]] == [one.name for one in part.instances]
    served = ask(site(chain), "GET", "/chains/1/rollouts/1/report")
    assert read_report(served.text, "the page").rollouts == report.rollouts
    assert served.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert ask(site(chain), "GET", "/chains/1/rollouts/9/report").status_code == 409


def test_the_history_links_the_report_of_each_rollout(chain: StandingChain) -> None:
    assert 'href="/co/chains/1/rollouts/1/report"' in ask(site(chain, prefix="/co"), "GET", "/co/chains/1").text


def test_a_refused_action_is_logged_in_one_line(chain: StandingChain, caplog: pytest.LogCaptureFixture) -> None:
    ask(site(chain), "POST", "/api/chains/1/actions/pause", BEARER, b'{"tier": "a\\nb"}')
    assert "refused" in caplog.text
    assert len(caplog.text.splitlines()) == 1


@pytest.mark.parametrize("query", ["lang=zh%0d%0aX-Evil:%201", "rollout=1%0d%0aX-Evil:%201"])
def test_a_query_adds_no_header(chain: StandingChain, query: str) -> None:
    for path in ("/chains/1", "/api/chains/1", "/"):
        assert "x-evil" not in ask(site(chain), "GET", f"{path}?{query}").headers


HOLDING = Holding(Rollout("v1"), 1, 0.0)
OFFERED: list[tuple[State, bool, set[str]]] = [
    (Rolling(Rollout("v1")), True, {"pause", "abort"}),
    (Rolling(Rollout("v1")), False, {"pause", "abort", "resume"}),
    (HOLDING, True, {"pause", "promote", "promote --full", "abort"}),
    (Paused("why", HOLDING), True, {"pause", "resume", "promote", "promote --full", "abort"}),
    (Undoing("why"), True, set()),
]


@pytest.mark.parametrize(("course", "controlled", "offered"), OFFERED)
def test_only_what_does_something_is_offered_and_the_rest_has_its_reason(
    chain: StandingChain, course: State, controlled: bool, offered: set[str]
) -> None:
    def actions() -> Any:
        return ask(site(chain), "GET", "/api/chains/1").json()["actions"]

    with chain.controlled("roll") as journal:
        journal.write_step(time.time(), "runtime", TierState("v2", course), [], [])
        found = actions() if controlled else None
    found = found or actions()
    assert {one["name"] for one in found if one["possible"]} == offered
    assert all(one["text"] for one in found)


def test_only_the_last_rollouts_are_read_and_a_past_one_once_a_minute(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "HISTORY", 3)
    monkeypatch.setattr(snapshot, "AGE", 0.0)
    with chain.controlled("roll") as journal:
        now = time.time()
        journal.end_rollout(1, now - 900, "undone", "")
        for ago in (800, 700, 600, 10):
            row = journal.begin_rollout(now - ago, "runtime", "v1", "v2")
            journal.end_rollout(row.id, now - ago + 5, "completed", "")
    read: list[tuple[int, list[int]]] = []

    def history(state: Path, first: int, most: int) -> Sequence[Data]:
        found = READ.history(state, first, most)
        read.append((first, [row["id"] for row in found]))
        return found

    app = create_app(Site([chain.state], TOKEN, sources=replace(SOURCES, history=history)))
    shown: list[Any] = [ask(app, "GET", "/api/chains/1").json()["history"] for _ in range(2)]
    assert read == [(1, [3, 4, 5]), (5, [5])]
    assert [[row["id"] for row in rows] for rows in shown] == [[5, 4, 3]] * 2
    assert "lists the older ones" in ask(app, "GET", "/chains/1").text


def test_a_rollout_that_only_has_to_be_watched_says_for_how_long(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        state = TierState("v2", Rolling(Rollout("v1")), admitted_at=time.time())
        journal.write_step(time.time(), "runtime", state, [], [])
        member = Member("runtime-v2-3", "v2", 3, Phase.GONE, {Phase.GONE: time.time()})
        journal.write_step(time.time(), "runtime", state, [member], [])
        (wait,) = ask(site(chain), "GET", "/api/chains/1").json()["waits"]
        assert wait["key"] == "wait_watch"
        assert 0 < wait["facts"]["left"] <= 60
