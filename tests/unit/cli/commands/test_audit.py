"""`changeover audit`: exit codes, text, JSON, explanations, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.json_page import insist
from typer.testing import CliRunner, Result

from changeover.audit.files import Loaded
from changeover.audit.rules import all_rules
from changeover.cli import audited
from changeover.cli.main import cli
from changeover.cli.rendering import lab
from changeover.lab.client import Outcome, Sent
from changeover.lab.demonstrations import ALL
from changeover.lab.prove import Proof, Run

SHORT = """\
worker_shutdown_timeout 10s;
events {}
http {
    client_max_body_size 64m;
    upstream inner { server 10.0.0.5:9000; server 10.0.0.6:9000; keepalive 8; }
    server { listen 8080; location / { proxy_http_version 1.1; proxy_pass http://inner; } }
}
"""


def run(*words: object, code: int) -> Result:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def printed(*words: object, code: int) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path("nginx.conf")
    file.write_text(SHORT, encoding="utf-8")
    return file


def test_limits_of_one_object_that_cut_the_same_request_are_one_entry(conf: Path) -> None:
    Path("a.service").write_text("[Service]\nExecStart=/srv/gunicorn a:app\nTimeoutStopSec=60\n", encoding="utf-8")
    output = run("a.service", code=1).stdout
    assert output.startswith(
        "a.service:2, 3  APP01, APP02, APP06 error  3 limits of a.service are shorter than a 50 MB upload at 1 Mb/s "
        "(430 s)\n    APP01  --graceful-timeout is not set, so it is 30: a GET survives; a POST in flight is cut 30 s "
        "after gunicorn is stopped\n           fix: --graceful-timeout 440\n"
    )
    assert "           fix: -k gthread --threads 8\n" in output
    assert "3 errors" in output
    Path("b.service").write_text("[Service]\nExecStart=/srv/granian a:app\nTimeoutStopSec=60\n", encoding="utf-8")
    assert "limits of" not in run("b.service", code=1).stdout


def test_a_finding_has_its_line_its_arithmetic_and_its_fix(conf: Path) -> None:
    output = run(conf, "--upload", "50MB", "--client-rate", "1Mbps", code=1).stdout
    assert output.startswith(
        "nginx.conf:1  NGX03 error  worker_shutdown_timeout 10s: shorter than a 50 MB upload at 1 Mb/s (430 s)\n"
        "    a GET survives; a POST in flight is cut 10 s after a reload or a graceful stop\n"
        "    fix: worker_shutdown_timeout 460s;        explain: changeover audit --explain NGX03\n"
    )


def test_a_text_shows_the_first_thousand_findings_of_a_rule_in_a_file_and_counts_all(conf: Path) -> None:
    body = "client_max_body_size 8m; location / { proxy_pass http://10.0.0.5; }"
    servers = "".join(f"server {{ listen {n}; {body} }}\n" for n in range(1, 1_006))
    conf.write_text(f"events {{}}\nhttp {{\n{servers}}}\n", encoding="utf-8")
    output = run(conf, code=1).stdout
    assert output.count("  NGX07 error  ") == 1_000
    assert "nginx.conf  5 more of NGX07, violated: --json has each\n" in output
    assert [one["rule"] for one in printed(conf, code=1)["findings"]].count("NGX07") == 1_005


def test_the_numbers_follow_the_upload_and_the_rate(conf: Path) -> None:
    assert (
        "NGX03"
        not in run(conf, "--upload", "1MB", "--client-rate", "100Mbps", "--assume", "app-time=1s", code=0).stdout
    )
    found = printed(conf, "--client-rate", "2Mbps", code=1)["findings"]
    (limit,) = (one["numbers"] for one in found if one["rule"] == "NGX03")
    assert limit == {"limit_seconds": 10.0, "request_seconds": 230.0, "slowest_client_bits_per_second": None}


def test_a_threshold_decides_what_counts(conf: Path) -> None:
    conf.write_text(
        SHORT.replace("10s", "480s").replace("location / {", "client_body_timeout 5s; location / {"), encoding="utf-8"
    )
    assert "NGX08 warning" in run(conf, code=1).stdout
    run(conf, "--fail-on", "error", code=0)
    run(conf, "--fail-on", "error", "--unknown-fails", code=1)


def test_an_accepted_finding_does_not_count_and_keeps_its_reason(conf: Path) -> None:
    conf.write_text("# changeover: ignore NGX03 -- drained before\n" + SHORT, encoding="utf-8")
    assert "NGX03" not in run(conf, code=0).stdout
    found = printed(conf, code=0)["findings"]
    assert [one["suppressed"] for one in found if one["rule"] == "NGX03"] == ["drained before"]
    assert "NGX03 suppressed" in run(conf, "--all", code=0).stdout


def test_a_comment_without_a_reason_or_a_finding_is_reported(conf: Path) -> None:
    conf.write_text(
        "# changeover: ignore NGX03\n" + SHORT + "# changeover: ignore NGX07, NGX08 -- none\n", encoding="utf-8"
    )
    output = run(conf, code=1).stdout
    assert "nginx.conf:1  the suppression of NGX03 has no reason" in output
    assert "nginx.conf:9  the suppression of NGX07, NGX08 hides nothing" in output


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("http { server {{% if x %} listen 80; } }", "is a template"),
        ("http {\n server {", "is not closed"),
        ("hello, world", "no reader recognises its format"),
    ],
)
def test_a_file_that_cannot_be_read_is_never_a_pass(conf: Path, text: str, what: str) -> None:
    Path("other.conf").write_text(text, encoding="utf-8")
    assert what in run(conf, "other.conf", code=2).stdout


def test_an_audit_of_nothing_is_no_pass(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "db.service").write_text("[Service]\nExecStart=/usr/bin/postgres\n")
    assert "nothing was judged" in run(tmp_path, code=2).stderr
    assert "no file is given" in run(code=2).stderr
    assert "there is no such file" in run(tmp_path / "none.conf", code=2).stdout


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--assume", "nginy=1"), "no assumption is named nginy"),
        (("--assume", "reloads=often"), "yes or no is needed"),
        (("--assume", "reloads"), "is no KEY=VALUE"),
        (("--assume", "edge-timeout=30"), "a time with its unit"),
        (("--client-rate", "fast"), "a rate in bits"),
        (("--upload", "0"), "more than 0"),
        (("--chain", "a.conf"), "--chain names a.conf"),
        (("--explain", "NGX99"), "no rule is named NGX99"),
    ],
)
def test_a_wrong_option_is_refused(conf: Path, words: tuple[str, str], what: str) -> None:
    assert what in run(conf, *words, code=2).stderr


def test_a_rule_explains_itself() -> None:
    output = run("--explain", "ngx03", code=0).stdout
    assert "worker_shutdown_timeout 10s;" in output
    assert "https://nginx.org/en/docs/ngx_core_module.html#worker_shutdown_timeout" in output
    assert "expect:" not in output


def test_the_order_of_a_chain_can_be_given(conf: Path) -> None:
    Path("inner.conf").write_text(
        "http { keepalive_timeout 10s; server { listen 80; location / { proxy_pass http://a; } } }", encoding="utf-8"
    )
    assert "CHN01 error" not in run(conf, "inner.conf", code=1).stdout
    output = run(conf, "inner.conf", "--chain", "nginx.conf,inner.conf", code=1).stdout
    assert "inner.conf:1  CHN01 error  keepalive_timeout 10s, and the pool of upstream inner keeps" in output


def test_what_it_prints_is_on_the_page_of_json(conf: Path) -> None:
    Path("folder").mkdir()
    Path("folder/a.txt").write_text("hello", encoding="utf-8")
    Path("broken.conf").write_text("http {", encoding="utf-8")
    conf.write_text("# changeover: ignore NGX03\n" + SHORT + "# changeover: ignore NGX07 -- none\n", encoding="utf-8")
    inner = Path("inner.conf")
    inner.write_text("http { server { listen 9000; location / { proxy_pass http://a; } } }", encoding="utf-8")
    found = printed(conf, inner, "folder", "broken.conf", "--chain", "nginx.conf,inner.conf", "--diff", code=2)
    Path("nginx.service").write_text("[Service]\nExecStart=/usr/sbin/nginx\n", encoding="utf-8")
    table = printed(conf, inner, "broken.conf", "nginx.service", "--chain", "nginx.conf,inner.conf", "--table", code=2)
    insist(
        "audit",
        found,
        printed("--explain", "NGX03", code=0),
        lab.data([proof()], {"NGX01": "nginx is not installed"}),
        table,
    )


def proof() -> Proof:
    """A demonstration whose examples lose what they should not."""
    sent = (Sent("POST", Outcome.LOST, "answered with 502", 1.0),)
    return Proof(all_rules()[0], next(iter(ALL.values()))[0], Run(sent), Run(sent), ("the good example loses 1",))


def test_sigterm_ends_an_audit_of_large_files_at_once(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(files: Sequence[Path]) -> Loaded:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pass
        return Loaded()

    monkeypatch.setattr(audited, "load", slow)
    result = run(conf, code=2)
    assert "interrupted before the command was done" in result.stderr
    assert result.stdout == ""
