"""Templates that never serve: each is undone, and the message names the question, the answer, and the log."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest
import yaml
from tests.chain.chains import Chain, Said, running_in

SERVER = str(Path(__file__).with_name("faulty_start.py"))
GUNICORN = ["-m", "gunicorn", "--no-control-socket", "--bind", "{host}:{port}", "no_such_module:app"]
PASSWORD = "hunter2hunter2"


def template(way: str) -> Said:
    return {"command": [sys.executable, SERVER, "{port}", way], "env": {"DB": PASSWORD}}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("faulty")
    ways = ("fine", "unready", "silent", "deaf", "workers", "lying")
    tier = {
        "name": "web",
        "kind": "app",
        "size": 1,
        "templates": {**{way: template(way) for way in ways}, "boot": {"command": [sys.executable, *GUNICORN]}},
        "health": {"path": "/healthz", "interval": "100ms", "timeout": "500ms"},
        "update": {"min_ready": "100ms", "progress_deadline": "5s", "guard": ["no-broken-requests"]},
    }
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"probe": {"get": [{"path": "/"}]}, "tiers": [tier]}, sort_keys=False))
    found = Chain(folder, file)
    try:
        found.up()
        yield found
    finally:
        if running_in(folder):
            found.run("down", code=None)


QUESTION = r"GET http://127\.0\.0\.1:\d+/healthz"


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (
            "unready",
            rf"was not ready after \d s \(progress_deadline\): {QUESTION} answered 503 'unready: no database at ",
        ),
        ("silent", rf"it did not answer within 0.5 s, its health.timeout \({QUESTION}: "),
        ("deaf", rf"was not ready after \d s \(progress_deadline\): {QUESTION}: Connection refused"),
        ("workers", r"did not start: its first process ended, while 1 that it started went on: .* in the foreground"),
        ("boot", r"did not start: .*ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_template_that_never_serves_is_undone_with_the_question_the_answer_and_the_log(
    chain: Chain, way: str, reason: str
) -> None:
    undone = chain.run("roll", "web", "--to", way, "--json", code=1)
    assert undone.json["outcome"] == "undone"
    told: str = undone.json["reason"]
    assert re.search(reason, told), told
    log = told.partition("its log ")[2].partition(" ends with: ")[0]
    assert Path(log).is_file(), told
    if way != "boot":
        assert "connecting to ***" in told
    assert PASSWORD not in undone.out + undone.err
    assert chain.get("/").text.startswith("fine")


def test_a_guarded_rollout_without_any_request_to_judge_by_is_paused_and_never_completes(chain: Chain) -> None:
    roll = chain.start("roll", "web", "--to", "lying", "--json")
    assert "no-broken-requests/broken: " in roll.says("paused: guard: ")
    chain.run("abort")
    assert roll.end(1).json["outcome"] == "undone"


def test_a_template_that_is_ready_before_it_serves_is_seen_by_the_requests_of_the_probe(chain: Chain) -> None:
    """Neither the controller nor a router asks for anything but the readiness, so a guard must."""
    probe = chain.start("probe", "--json")
    probe.says("GET")
    undone = chain.run("roll", "web", "--to", "lying", "--json", code=None)
    assert undone.json["outcome"] == "undone"
    assert "guard: no-broken-requests/broken: " in undone.json["reason"]
    assert "status 502" in undone.json["reason"]
    probe.signal(SIGTERM).end(3)
