"""The page in a real Chromium, for every user: by keyboard, on a phone, in the dark, by a screen reader; and its size.

The chain is one that its journal describes; its status is made here, so that each part of the page shows.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tests.unit.cli.standing import StandingChain, standing_chain

from changeover.cli import page_sources
from changeover.engine.figures import FiguresStore, GuardSample
from changeover.engine.journal.records import LogLine
from changeover.kit.sockets import free_port
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import Holding, Rollout, TierState
from changeover.web.app import create_app
from changeover.web.page import routes, snapshot
from changeover.web.site import Site
from changeover.web.sources import Data, Sources

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: Debian's package chromium")

AXE = Path(__file__).parents[1] / "clients/node_modules/axe-core/axe.min.js"
TOKEN = "0123456789abcdef"
PATIENCE = 40_000
"""Milliseconds in which the page must show what is awaited, on two busy cores."""
EVERY = 0.2
"""Seconds between two updates, so that a test of many takes few."""

STEPS = """
    update: {strategy: canary, steps: [{set_weight: 50}, {pause: until-promoted}, {set_weight: 80}, {pause: 30s}]}
"""
CHAIN = f"""
name: four-oceans
listen: 127.0.0.1:8080
tiers:
  - name: edge
    kind: nginx-stream
    size: 2
    templates: {{v1: {{}}, v2: {{}}}}
  - name: runtime
    kind: app
    size: 2{STEPS}
    templates: {{v1: {{}}, v2: {{}}}}
"""


class Made:
    """The status of a chain in the midst of a rollout, with as many instances of the runtime as a test wants."""

    def __init__(self, base: Data) -> None:
        self.base, self.size = base, 3
        self.turn = itertools.count()

    async def status(self, _: Path) -> Data:
        turn = next(self.turn)
        edges = [self._instance("edge", n, "v1", "admitted", turn) for n in (1, 2)]
        many = [self._runtime(n, turn) for n in range(1, self.size + 1)]
        many[1] |= {"phase": "draining", "drain_seconds_left": 50.0, "serving": False}
        many[2] |= {"phase": "dead", "serving": False, "reason": "its process has ended: `exit 7`", "in_flight": None}
        tiers = [dict(tier) for tier in self.base["tiers"]]
        tiers[0] |= {"serving": 2, "template": "v1", "status": "resting"}
        tiers[1] |= {"serving": self.size - 2, "size": self.size, "template": "v2", "status": "holding"}
        return {
            **self.base,
            "up": True,
            "state": "degraded",
            "findings": ["Tier runtime has 1 instance in service, and should have 2; `runtime-v1-3` has ended"],
            "active_command": {"pid": 1, "command": "roll"},
            "tiers": tiers,
            "instances": [*edges, *many],
        }

    def _runtime(self, number: int, turn: int) -> dict[str, Any]:
        return self._instance("runtime", number, "v2" if number % 2 else "v1", "admitted", turn)

    def _instance(self, tier: str, number: int, template: str, phase: str, turn: int) -> dict[str, Any]:
        received = (turn * 100_000 + number) % 6_000_000
        upload = {"received": received, "expected": 6_000_000, "age_seconds": 1 + turn * EVERY}
        return {
            "name": f"{tier}-{template}-{number}",
            "tier": tier,
            "template": template,
            "phase": phase,
            "serving": True,
            "reason": "",
            "in_flight": {"requests": turn % 7, "connections": 3, "uploads": [upload, upload | {"expected": None}]},
            "drain_seconds_left": None,
        }


def described(folder: Path) -> StandingChain:
    """A chain whose journal has a rollout in progress, at a step that waits; a probe has lost a request in it."""
    chain = standing_chain(folder, CHAIN)
    now = time.time()
    with chain.controlled("roll") as journal:
        journal.begin_rollout(now - 100, "runtime", "v1", "v2")
        member = Member("runtime-v2-3", "v2", 3, Phase.ADMITTED, {Phase.CREATING: now - 90, Phase.ADMITTED: now - 80})
        lines = [
            LogLine("command", "create instance: template v2", "runtime-v2-3"),
            LogLine("phase", "creating -> admitted: became ready", "runtime-v2-3"),
            LogLine("interruption", "2 requests may have broken", ""),
        ]
        state = TierState("v2", Holding(Rollout("v1"), 1, now - 80))
        journal.write_step(now - 80, "runtime", state, [member], lines)
    with Ledger(chain.state / "ledgers/probe.jsonl") as ledger:
        ledger.record(LedgerRow("get", "/", now - 60, now - 60, now - 60, "fresh", "lost", reason="reset by peer"))
    store = FiguresStore(chain.state)
    store.add({("probe_requests_total", ("get", "ok")): 99, ("probe_requests_total", ("get", "lost")): 1})
    store.record([GuardSample("runtime", "few/broken", now - 70, 0.01, None, 0.02, 5.0, "")])
    store.record([GuardSample("runtime", "few/broken", now - 65, None, None, 0.02, 5.0, "no answer of the canary")])
    return chain


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Made, str]]:
    """What the site shows, and its URL."""
    chain = described(tmp_path_factory.mktemp("page"))
    shown = Made(asyncio.run(page_sources.status(chain.state)))
    sources: Sources = replace(page_sources.SOURCES, status=shown.status)
    port = free_port("127.0.0.1")
    app = create_app(Site([chain.state, chain.folder / "other"], TOKEN, sources=sources))
    settings = uvicorn.Config(app, port=port, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "AGE", EVERY / 2)
        patch.setattr(routes, "AGE", EVERY)
        thread.start()
        try:
            yield shown, f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(PATIENCE / 1000)


@pytest.fixture(scope="module")
def browser(made: tuple[Made, str]) -> Iterator[Browser]:
    """After `made`, which runs a loop: Playwright holds this thread's."""
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, made: tuple[Made, str]) -> Iterator[Page]:
    """The page, live."""
    made[0].size = 3
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{made[1]}/chains/1?lang=en")
    expect(page.locator("#link")).to_have_text("Live")
    yield page
    page.close()


def violations(page: Page) -> list[str]:
    """What axe objects to: rule, and the elements."""
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run()")
    return [f"{one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in found["violations"]]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: scripts/setup-npm tests/clients")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation_on_the_page_in_its_dialog_or_on_a_phone(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.locator("summary").click()
    assert violations(page) == []
    page.evaluate("document.querySelector('label[for=to]').remove()")
    assert [one.partition(":")[0] for one in violations(page)] == ["select-name"], "the control"
    page.reload()
    page.locator('[data-action="abort"]').click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 844})
    assert violations(page) == []


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: scripts/setup-npm tests/clients")
def test_axe_finds_no_violation_in_chinese_and_with_200_instances(page: Page, made: tuple[Made, str]) -> None:
    made[0].size = 200
    page.goto(f"{made[1]}/chains/1?lang=zh")
    expect(page.locator(".small .block")).to_have_count(200)
    assert violations(page) == []


@pytest.mark.parametrize("size", [3, 200])
def test_a_phone_shows_it_without_scrolling_sideways(page: Page, made: tuple[Made, str], size: int) -> None:
    made[0].size = size
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    expect(page.locator("#rollout svg").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_alone_reaches_an_action_and_leaves_its_dialog(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the rollout")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.action"):
            break
    pause = page.locator('[data-action="pause"]')
    expect(pause).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="changeover pause runtime")).to_be_visible()
    expect(page.locator("#token")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#confirm")).to_be_hidden()
    expect(pause).to_be_focused()


def test_a_region_that_is_renewed_keeps_the_focus_and_what_was_typed(page: Page) -> None:
    page.locator("#filter").fill("runtime")
    page.locator("#broke").focus()
    page.evaluate("document.getElementById('broke').dataset.first = 'yes'")
    expect(page.locator("#broke[data-first]")).to_have_count(0)  # it is another element now
    expect(page.locator("#broke")).to_be_focused()
    expect(page.locator("#filter")).to_have_value("runtime")


def updates(page: Page, number: int) -> None:
    """Wait until so many more events have reached the tab, by a stream of their own."""
    page.evaluate(
        """() => {
            document.body.dataset.events = "";
            const stream = new EventSource(document.body.dataset.api + "/events");
            stream.addEventListener("regions", () => { document.body.dataset.events += "x"; });
        }"""
    )
    expect(page.locator("body")).to_have_attribute("data-events", re.compile("x" * number))


def test_a_button_that_is_held_down_is_not_renewed_under_the_pointer(page: Page) -> None:
    page.locator('[data-action="pause"]').hover()
    page.mouse.down()
    page.evaluate("document.getElementById('broke').dataset.held = 'yes'")
    updates(page, 3)
    expect(page.locator("#broke[data-held]")).to_have_count(1)
    page.mouse.up()
    expect(page.locator("#confirm")).to_be_visible()
    expect(page.locator("#broke[data-held]")).to_have_count(0)


def test_an_update_of_200_instances_takes_less_than_50_ms_of_script(page: Page, made: tuple[Made, str]) -> None:
    made[0].size = 200
    page.goto(f"{made[1]}/chains/1")
    expect(page.locator(".small .block")).to_have_count(200)
    measure = page.context.new_cdp_session(page)
    measure.send("Performance.enable")

    def seconds() -> dict[str, float]:
        return {one["name"]: one["value"] for one in measure.send("Performance.getMetrics")["metrics"]}

    before = seconds()
    updates(page, 10)
    after = seconds()
    spent = {name: (after[name] - before[name]) / 10 for name in ("ScriptDuration", "LayoutDuration", "TaskDuration")}
    assert spent["ScriptDuration"] < 0.05, spent


def test_the_report_of_a_rollout_opens_from_the_history_with_its_styles(page: Page) -> None:
    faults: list[str] = []
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.get_by_role("link", name="report 1").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.evaluate("document.styleSheets[0].cssRules.length") > 0
    assert faults == []
