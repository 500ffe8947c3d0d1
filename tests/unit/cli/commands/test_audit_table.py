"""`changeover audit --table` and `--html`: text, page, exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from changeover.cli.main import cli

NGINX = """\
worker_shutdown_timeout 120s;
events {}
http { server { listen 8080; location / { proxy_pass http://10.0.0.5:9000; } } }
"""
UNIT = "[Service]\nExecStart=/usr/sbin/nginx -g 'daemon off;'\nKillSignal=SIGQUIT\nTimeoutStopSec=500\n"


def run(*words: object, code: int) -> Result:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nginx.conf").write_text(NGINX, encoding="utf-8")
    Path("nginx.service").write_text(UNIT, encoding="utf-8")


def test_the_table_shows_signals_the_cut_and_what_survives() -> None:
    text = run("nginx.conf", "nginx.service", "--table", code=0).stdout
    assert re.search(r"^ +0 s  SIGQUIT +KillSignal=SIGQUIT \(nginx.service:3\)$", text, re.MULTILINE)
    assert re.search(
        r"^ +120 s  grace ends +worker_shutdown_timeout 120s .*  cuts what is in flight$", text, re.MULTILINE
    )
    assert re.search(r"^ +50 MB +cut +cut +cut +ok +ok$", text, re.MULTILINE)
    assert "a request in flight has 120 s" in text


def test_a_stop_that_no_file_describes_is_unknown_and_no_pass() -> None:
    text = run("nginx.conf", "--table", "--upload", "10MB", code=0).stdout
    assert "unknown  how nginx is stopped" in text
    assert re.search(r"^ +200 kB +\? +\? +\? +\? +\?$", text, re.MULTILINE)
    assert "a request in flight has 120 s, or less" in text


def test_the_page_is_one_file_that_loads_nothing() -> None:
    Path("evil.conf").write_text("http { server { listen 81; location / { proxy_pass http://b; } } }", encoding="utf-8")
    Path("evil.conf").rename("<script>.conf")
    run("nginx.conf", "nginx.service", "<script>.conf", "--html", "page.html", code=0)
    page = Path("page.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|src=|href=|url\(|@import", page)
    picture = re.search(r"<svg.*</svg>", page, re.DOTALL)
    assert picture
    labels = [one.text for one in ElementTree.fromstring(picture[0]).iter("text")]
    assert {"SIGQUIT 0 s", "grace ends 120 s", "SIGKILL 500 s", "10 min"} <= set(labels)
    assert page.count(">cut</td>") >= 1


def test_files_without_a_tier_and_unreadable_ones_exit_with_2() -> None:
    Path("broken.conf").write_text("http { {{ template }}", encoding="utf-8")
    Path("ready.tf").write_text('resource "google_compute_health_check" "a" {}\n', encoding="utf-8")
    assert "describe no tier" in run("ready.tf", "--table", code=2).output
    assert "unreadable" in run("nginx.conf", "broken.conf", "--table", code=2).stdout
    assert "--html" in run("nginx.conf", "--html", "absent/page.html", code=2).output


@pytest.mark.parametrize(
    "words",
    [
        ("nginx.conf", "--table", "--sarif", "a.sarif"),
        ("--prove", "NGX01", "--explain", "NGX01"),
        ("nginx.conf", "--html", "a.html", "--unknown-fails"),
        ("nginx.conf", "--prove", "NGX01"),
    ],
)
def test_options_that_would_be_ignored_are_refused(words: tuple[str, ...]) -> None:
    assert re.search("cannot be combined|reads no file", run(*words, code=2).output)
