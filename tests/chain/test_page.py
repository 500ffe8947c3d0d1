"""An operator watches a chain in a real Chromium, and rolls it by clicking, while real requests and uploads run.

Playwright drives Debian's Chromium. The page is that of `changeover serve`, and nothing in it is replaced: what a test
knows, it reads from the page as a user does. The chain goes from each test to the next, in the order of the file.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from signal import SIGKILL, SIGTERM

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.chain.chains import Chain, Command, Said, as_canary, small
from tests.chain.conftest import own_chain

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: Debian's package chromium")

TOKEN = "a-token-of-some-length"
PATIENCE = 60_000
"""Milliseconds in which the page must show what is awaited, on two busy cores."""


def by_hand(said: Said) -> None:
    """A change: the runtime is rolled as a canary that a guard judges, and that waits for `promote` at its half.

    The guard never fails: what becomes of a rollout is for the clicks of a test to say.
    """
    condition = {"name": "broken", "source": "probe", "measure": "error_ratio", "at_most": 1}
    said["guards"] = [
        {
            "name": "few",
            "conditions": [condition | {"interval": "1s", "count": 2, "min_requests": 1, "missing_limit": 30}],
        }
    ]
    steps: list[Said] = [{"set_weight": 50}, {"pause": "until-promoted"}]
    as_canary(said, steps, guard=["few"], watch="1s")


class Dashboard:
    """The page of one chain, in one tab, and the server that it comes from."""

    def __init__(self, chain: Chain, page: Page) -> None:
        self.chain, self.page = chain, page
        self.token = chain.folder / "token"
        self.token.write_text(TOKEN)
        self.token.chmod(0o600)
        self.faults: list[str] = []
        """What the browser complained of, such as a breach of the policy of contents."""
        self.asked: set[str] = set()
        """The servers that it sent requests to."""
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on("request", lambda request: self.asked.add(re.sub(r"(//[^/]*).*", r"\1", request.url)))
        uploads = ("--uploads", 2, "--upload-size", "2MB", "--upload-time", "2s")
        self.probe = chain.start("probe", "--rate", 40, *uploads, "--json")
        self.server = self.serve("127.0.0.1:0")
        self.url = re.sub(r".*(http://\S+?)/ and.*\s*", r"\1", self.server.says("Serving http://"))
        page.goto(f"{self.url}/chains/1?lang=en")

    def serve(self, listen: str) -> Command:
        return self.chain.start("serve", "--listen", listen, "--token-file", self.token)

    def end_server(self) -> None:
        self.server.signal(SIGTERM).end(0)

    def shows(self, region: str, *texts: str) -> None:
        """Wait until that part of the page has these texts."""
        for text in texts:
            expect(self.page.locator(f"#{region}")).to_contain_text(text)

    def press(self, action: str) -> None:
        """Click on an action, and confirm it, by its full command, in the dialog."""
        button = self.page.locator(f'[data-action="{action}"]')
        expect(button).to_be_enabled()
        button.click()
        self.confirm()

    def confirm(self) -> None:
        token = self.page.locator("#token")
        if not token.input_value():
            token.fill(TOKEN)
        self.page.locator("#confirm-yes").click()

    def roll(self, tier: str, to: str) -> None:
        """Choose a template, read the plan, and carry it out."""
        self.page.locator("#to").select_option(f"{tier} {to}")
        self.page.locator("#roll button").click()
        token = self.page.locator("#token")
        if not token.input_value():
            token.fill(TOKEN)
            token.press("Enter")
        expect(self.page.locator("#confirm-what")).to_contain_text("changeover roll --plan")
        expect(self.page.locator("#confirm-text")).to_contain_text(f"→ {to}, canary")
        self.confirm()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("page")
    expect.set_options(timeout=PATIENCE)
    with own_chain(folder, small, by_hand) as chain, sync_playwright() as playwright:
        chain.up()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        found = Dashboard(chain, page)
        yield found
        browser.close()
        for command in {found.server, found.probe} & Command.running:  # of a test that failed
            command.signal(SIGTERM).end()
        if active := chain.run("status", "--json").json["active_command"]:  # it would block `down`
            os.kill(active["pid"], SIGKILL)


def test_an_operator_rolls_pauses_resumes_and_promotes_by_clicking_and_sees_each_step(dashboard: Dashboard) -> None:
    dashboard.probe.says(" 2 in flight")
    dashboard.shows("head", "serving")
    dashboard.shows("chain", "v1", "uploads: ")
    dashboard.roll("runtime", "v2")
    expect(dashboard.page.get_by_role("heading", name="runtime: v1 to v2")).to_be_visible()
    dashboard.shows("now", "waits for promote")
    dashboard.shows("chain", "new", "old")
    dashboard.press("pause")
    dashboard.shows("now", "is paused")
    dashboard.press("resume")
    dashboard.shows("now", "waits for promote")
    dashboard.shows("rollout", "few/broken")
    dashboard.press("promote")
    dashboard.shows("now", "completed after", "No request broke")
    dashboard.shows("now", "none lost, duplicated or corrupted")
    dashboard.shows("history", "completed")


def test_a_request_that_is_lost_during_a_rollout_is_shown_and_an_abort_by_clicking_goes_back(
    dashboard: Dashboard,
) -> None:
    dashboard.roll("runtime", "v1")
    expect(dashboard.page.get_by_role("heading", name="runtime: v2 to v1")).to_be_visible()
    dashboard.shows("now", "waits for promote")
    for instance in dashboard.chain.run("status", "--json").json["instances"]:  # `here` runs a loop: so does Playwright
        if instance["tier"] == "runtime":
            os.kill(instance["pid"], SIGKILL)
    dashboard.shows("now", "broke during this rollout", "get lost")
    expect(dashboard.page.locator("#rollout .mark").first).to_be_visible()
    dashboard.press("abort")
    dashboard.shows("now", "undone after")
    dashboard.probe.signal(SIGTERM).end(3)


def test_the_page_asks_no_other_server_and_runs_no_script_but_its_own(dashboard: Dashboard) -> None:
    assert dashboard.asked == {dashboard.url}
    assert dashboard.faults == []
    with dashboard.page.expect_console_message(lambda line: "Content Security Policy" in line.text):
        dashboard.page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.foreign = 1'}))"
        )
    assert dashboard.page.evaluate("window.foreign") is None


def test_a_lost_connection_is_said_and_regained(dashboard: Dashboard) -> None:
    link = dashboard.page.locator("#link")
    expect(link).to_have_text("Live")
    dashboard.end_server()
    expect(link).to_contain_text("Connection lost")
    dashboard.server = dashboard.serve(dashboard.url.removeprefix("http://"))
    expect(link).to_have_text("Live")
    dashboard.end_server()
