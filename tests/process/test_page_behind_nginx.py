"""The page below a prefix behind a real nginx, which is configured as docs/dashboard.md says."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import uvicorn
from tests.process.test_behind_a_proxy import running, snippet
from tests.unit.cli.standing import standing_chain

from changeover.cli import page_sources
from changeover.kit.sockets import free_port
from changeover.web.app import create_app
from changeover.web.page import routes
from changeover.web.site import Site
from changeover.web.sources import Done

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
PAGE = Path(__file__).parents[2] / "docs/dashboard.md"
TOKEN = "0123456789abcdef"
PATIENCE = 40
ran: list[Sequence[str]] = []


async def run(_: Path, words: Sequence[str]) -> Done:
    ran.append(words)
    return Done(0, 7, {})


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """The site, as `changeover serve --path-prefix /changeover --host ops.example.com` makes it; its port."""
    chain = standing_chain(folder)
    with chain.controlled("roll"):
        sources = replace(page_sources.SOURCES, run=run)
        site = Site([chain.state], TOKEN, "/changeover", frozenset({"ops.example.com"}), sources)
        port = free_port("127.0.0.1")
        settings = uvicorn.Config(
            create_app(site), port=port, lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@pytest.fixture
def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of the nginx, as a browser at ops.example.com is one."""
    if NGINX is None:
        pytest.skip("there is no nginx")
    ran.clear()
    monkeypatch.setattr(routes, "AGE", 0.1)
    monkeypatch.setattr(routes, "STILL", 0.1)
    (tmp_path / "nginx").mkdir()
    outside = free_port("127.0.0.1")
    with served(tmp_path) as port:
        locations = snippet("nginx", PAGE).replace(":9180", f":{port}")
        paths = "".join(f"{kind}_temp_path {tmp_path}/nginx/{kind}; " for kind in ("client_body", "proxy"))
        server = f"server {{ listen 127.0.0.1:{outside}; {locations} }}"
        file = tmp_path / "nginx/nginx.conf"
        file.write_text(
            f"daemon off; pid {tmp_path}/nginx/pid; error_log stderr; events {{}} "
            f"http {{ access_log off; {paths} {server} }}"
        )
        headers = {"Host": "ops.example.com"}
        with (
            running([NGINX, "-e", "stderr", "-c", str(file)], outside, tmp_path / "nginx") as url,
            httpx.Client(base_url=url, headers=headers, timeout=PATIENCE) as client,
        ):
            yield client


def test_the_page_its_events_and_its_actions_work_below_a_prefix_behind_nginx(behind: httpx.Client) -> None:
    moved = behind.get("/changeover/")
    assert (moved.status_code, moved.headers["location"]) == (303, "/changeover/chains/1")
    page = behind.get("/changeover/chains/1")
    assert page.status_code == 200
    assert behind.get("/changeover/static/page.js").headers["content-type"].startswith("text/javascript")
    with behind.stream("GET", "/changeover/api/chains/1/events") as events:
        lines = events.iter_lines()
        assert next(lines).startswith("retry:")
        last = next(line for line in lines if line.startswith("id:"))
    # Also a stream with nothing but its comments, which are few bytes, comes through as it is sent.
    with behind.stream("GET", "/changeover/api/chains/1/events", headers={"Last-Event-ID": last[3:].strip()}) as events:
        lines = (line for line in events.iter_lines() if line)
        assert [next(lines) for _ in range(4)] == ["retry: 2000", *[": nothing has changed"] * 3]

    def pause(origin: str) -> int:
        headers = {"Authorization": f"Bearer {TOKEN}", "Origin": origin}
        return behind.post(
            "/changeover/api/chains/1/actions/pause", headers=headers, json={"tier": "runtime"}
        ).status_code

    assert pause("https://evil.example") == 403
    assert ran == []
    assert pause("https://ops.example.com") == 200
    assert ran == [["pause", "runtime"]]
