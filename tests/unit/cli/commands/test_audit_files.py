"""`changeover audit --sarif --junit`: what other programs read of an audit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree

import pytest
from sarif_kit.validate import validation_errors
from tests.unit.audit.expectations import audited as judged
from typer.testing import CliRunner

from changeover.audit.files import Loaded
from changeover.audit.rules import all_rules
from changeover.cli.main import cli
from changeover.cli.rendering.audit_files import sarif
from changeover.conf.place import Place, Unreadable

CONF = """\
worker_shutdown_timeout 10s;
events {}
http {
    client_max_body_size 8m;  # changeover: ignore NGX07 -- avatars only
    server { listen 8080; location / { proxy_pass http://10.0.0.5:9000; } }
}
"""


def audited(*words: str, code: int) -> None:
    result = CliRunner().invoke(cli, ["audit", *words, "--sarif", "a.sarif", "--junit", "a.xml"])
    assert result.exit_code == code, result.output


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a b.conf").write_text(CONF, encoding="utf-8")
    Path("broken.conf").write_text("http {\n server {", encoding="utf-8")
    return tmp_path


def sarif_run() -> Any:
    page = json.loads(Path("a.sarif").read_text(encoding="utf-8"))
    assert (page["version"], len(page["runs"])) == ("2.1.0", 1)
    return page["runs"][0]


def results(rule: str) -> list[Any]:
    return [one for one in sarif_run()["results"] if one["ruleId"] == rule]


def test_a_violated_rule_is_a_failed_result_at_its_line() -> None:
    audited("a b.conf", code=1)
    (found,) = results("NGX03")
    assert (found["kind"], found["level"]) == ("fail", "error")
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b.conf"},
        "region": {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 29},
    }
    assert "a POST in flight is cut 10 s after" in found["message"]["text"]
    assert sarif_run()["tool"]["driver"]["rules"][found["ruleIndex"]]["id"] == "NGX03"


def test_a_path_below_the_folder_is_relative_to_it(folder: Path) -> None:
    audited(str(folder / "a b.conf"), code=1)
    assert results("NGX03")[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.conf"


def test_a_result_keeps_its_fingerprint_on_another_line() -> None:
    audited("a b.conf", code=1)
    (before,) = results("NGX03")
    Path("a b.conf").write_text("# moved\n\n" + CONF, encoding="utf-8")
    audited("a b.conf", code=1)
    (after,) = results("NGX03")
    assert after["locations"] != before["locations"]
    assert after["partialFingerprints"] == before["partialFingerprints"]


def test_an_unknown_an_accepted_and_an_unreadable_one_are_no_pass() -> None:
    audited("a b.conf", "broken.conf", code=2)
    (stop,) = results("NGX01")
    assert (stop["kind"], stop["level"]) == ("open", "none")
    (accepted,) = results("NGX07")
    assert accepted["suppressions"] == [{"kind": "inSource", "justification": "avatars only"}]
    (invocation,) = sarif_run()["invocations"]
    assert not invocation["executionSuccessful"]
    assert invocation["toolExecutionNotifications"][0]["level"] == "error"


def test_code_scanning_accepts_every_rule_and_result() -> None:
    audited("a b.conf", code=1)

    def empty(node: Any) -> bool:
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        return node == "" or any(map(empty, inner))

    run = sarif_run()
    assert not empty(run)
    for rule in run["tool"]["driver"]["rules"]:
        assert {"id", "shortDescription", "fullDescription", "help"} <= rule.keys()


def test_the_public_schema_accepts_every_rule_and_every_kind_of_result() -> None:
    found = [judged(rule.bad, {**rule.assume, **rule.assume_bad}, [rule]) for rule in all_rules()]
    every = [one for each in found for one in each.judged]
    accepted = [replace(every[0], suppressed="by a comment"), replace(every[1], suppressed="by us", outside=True)]
    texts = {file: text for rule in all_rules() for file, text in rule.bad.items()}
    loaded = Loaded(
        texts=texts, unreadable=[Unreadable("broken", Place("a b.conf", 3, 4)), Unreadable("none", Place("/c"))]
    )
    page = json.loads(sarif(replace(found[0], judged=(*every, *accepted)), loaded, PurePath("/work")))
    assert validation_errors(page) == []
    (run,) = page["runs"]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {rule.id for rule in all_rules()}
    assert len(run["results"]) >= len(all_rules())


def test_the_public_schema_accepts_a_report_without_findings_and_one_of_a_broken_file() -> None:
    Path("quiet.conf").write_text("worker_shutdown_timeout 480s;", encoding="utf-8")
    audited("quiet.conf", "--fail-on", "error", code=0)
    assert validation_errors(json.loads(Path("a.sarif").read_text(encoding="utf-8"))) == []
    audited("broken.conf", code=2)
    page = json.loads(Path("a.sarif").read_text(encoding="utf-8"))
    assert validation_errors(page) == []
    page["runs"][0]["tool"] = {}
    assert validation_errors(page) != []


def test_a_test_report_has_a_suite_for_each_file_and_a_case_for_each_finding() -> None:
    audited("a b.conf", "broken.conf", code=2)
    root = ElementTree.parse("a.xml").getroot()
    suites = {suite.get("name"): suite for suite in root}
    assert set(suites) == {"a b.conf", "broken.conf"}
    assert suites["broken.conf"].get("errors") == "1"
    cases = {(case.get("name") or "").split()[0]: case for case in suites["a b.conf"]}
    (failure,) = cases["NGX03"]
    assert (failure.tag, failure.get("type")) == ("failure", "error")
    assert (failure.get("message") or "").startswith("line 1: worker_shutdown_timeout 10s: shorter")
    assert cases["NGX01"][0].tag == cases["NGX07"][0].tag == "skipped"
    assert int(root.get("tests") or 0) == sum(len(suite) for suite in root)


def test_a_control_character_of_a_file_does_not_break_the_report() -> None:
    Path("a b.conf").write_text(CONF.replace("location /", "location /\x01"), encoding="utf-8")
    audited("a b.conf", code=1)
    assert ElementTree.parse("a.xml").getroot().get("name") == "changeover audit"


def test_a_report_that_cannot_be_written_is_an_error() -> None:
    result = CliRunner().invoke(cli, ["audit", "a b.conf", "--sarif", "none/a.sarif"])
    assert result.exit_code == 2
    assert "none/a.sarif" in result.stderr
