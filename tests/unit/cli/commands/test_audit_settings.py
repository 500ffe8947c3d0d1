"""`.changeover-audit.yaml`, --baseline and --create-baseline: what they accept, and what they refuse to hide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from changeover.cli.main import cli

CONF = """\
worker_shutdown_timeout 10s;
events {}
http {
    client_max_body_size 8m;
    server { listen 8080; location / { proxy_pass http://10.0.0.5:9000; } }
}
"""
SETTINGS = Path(".changeover-audit.yaml")
BASE = ("--baseline", "base.json")


def run(*words: str, code: int) -> Result:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", *words])
    assert result.exit_code == code, result.output
    return result


def page(*words: str, code: int) -> Any:
    return json.loads(run(*words, "--json", code=code).stdout)


def violated(*words: str, code: int) -> set[str]:
    found = page(*words, code=code)["findings"]
    return {one["rule"] for one in found if one["outcome"] == "violated" and one["suppressed"] is None}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for file in (Path("edge.conf"), Path("old/edge.conf")):
        file.parent.mkdir(exist_ok=True)
        file.write_text(CONF, encoding="utf-8")
    return tmp_path


def test_selected_rules_alone_are_checked() -> None:
    SETTINGS.write_text("select: [NGX07, GCP]\n", encoding="utf-8")
    found = page("edge.conf", code=1)
    assert {one["rule"] for one in found["findings"]} == {"NGX07"}
    assert found["configuration"] == ".changeover-audit.yaml"


def test_a_comment_about_a_rule_that_is_not_checked_is_not_reported() -> None:
    SETTINGS.write_text("select: [NGX07]\n", encoding="utf-8")
    Path("edge.conf").write_text(f"# changeover: ignore NGX03 -- drained\n{CONF}", encoding="utf-8")
    assert page("edge.conf", code=1)["unused_suppressions"] == []


def test_an_ignored_rule_is_shown_with_the_line_that_ignores_it() -> None:
    SETTINGS.write_text("# ours\nignore: [NGX07]\n", encoding="utf-8")
    assert "NGX07" not in run("edge.conf", code=1).stdout
    assert "(ignored in .changeover-audit.yaml:2)" in run("edge.conf", "--all", code=1).stdout


@pytest.mark.parametrize("pattern", ["old/*", "old", "old/", "*/edge.conf", "old/edge.conf"])
def test_a_pattern_accepts_rules_of_its_files_alone(pattern: str, folder: Path) -> None:
    SETTINGS.write_text(f'per-path-ignores: {{"{pattern}": [NGX03, NGX07]}}\n', encoding="utf-8")
    assert not {"NGX03", "NGX07"} & violated("old", code=1)
    assert not {"NGX03", "NGX07"} & violated(str(folder / "old/edge.conf"), code=1)
    assert {"NGX03", "NGX07"} <= violated("edge.conf", code=1)
    assert page("edge.conf", code=1)["notes"] == [
        f".changeover-audit.yaml:1  the pattern {pattern} matches none of these files"
    ]


def test_an_option_overrides_an_assumption_and_that_the_default() -> None:
    SETTINGS.write_text("assume: {client-rate: 200Mbps, app-time: 1s}\n", encoding="utf-8")
    assert "NGX03" not in violated("edge.conf", code=1)
    assert "NGX03" in violated("edge.conf", "--client-rate", "1Mbps", code=1)
    assert "NGX03" in violated("edge.conf", "--assume", "app-time=20s", code=1)


def test_settings_elsewhere_have_paths_of_their_own_folder() -> None:
    Path("inner.conf").write_text(
        "http { keepalive_timeout 10s; server { listen 80; location / { proxy_pass http://a; } } }", encoding="utf-8"
    )
    Path("edge.conf").write_text(
        "http { upstream a { server b:80; keepalive 8; } server { location / { proxy_pass http://a; } } }",
        encoding="utf-8",
    )
    Path("etc").mkdir()
    Path("etc/a.yaml").write_text("chain: [../edge.conf, ../inner.conf, none.conf]\n", encoding="utf-8")
    given = ("edge.conf", "inner.conf", "--assume", "nginx=1.29.7")
    assert page(*given, code=1)["links"] == []
    found = page(*given, "--config", "etc/a.yaml", code=1)
    assert [one["how"] for one in found["links"]] == ["--chain"]
    assert found["notes"] == [
        "etc/a.yaml  the chain names none.conf, which is none of these files: nothing is joined there"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("selects: [NGX]", "no key is named selects"),
        ("select: [NGX99]", "no rule and no family is named NGX99"),
        ("ignore: [NG]", "no rule and no family is named NG"),
        ("per-path-ignores: {a: [ngx07]}", "no rule and no family is named ngx07"),
        ("ignore: NGX07", "no list of words"),
        ("ignore: [[NGX07]]", "no list of words"),
        ("per-path-ignores: [a]", "this is no map"),
        ("assume: {nginy: 1}", ".changeover-audit.yaml: no assumption is named nginy"),
        ("assume: {reloads: often}", "yes or no is needed"),
        ("assume: {upload: [1]}", "no word or a number"),
        ("select: [NGX]\nselect: [GCP]", "given twice"),
        ("- NGX07", "one map of keys"),
        ("{{ x }}", "is a template"),
    ],
)
def test_a_wrong_setting_is_an_error(text: str, what: str) -> None:
    SETTINGS.write_text(text, encoding="utf-8")
    assert what in run("edge.conf", code=2).stderr


def test_settings_that_are_named_must_be_there_and_an_empty_file_sets_nothing() -> None:
    assert "none.yaml" in run("edge.conf", "--config", "none.yaml", code=2).stderr
    SETTINGS.write_text("# nothing yet\n", encoding="utf-8")
    assert "NGX03" in violated("edge.conf", code=1)


def test_a_baseline_accepts_the_findings_of_its_day_and_no_new_one() -> None:
    assert "--baseline base.json accepts them" in run("edge.conf", "--create-baseline", "base.json", code=0).stdout
    assert violated("edge.conf", *BASE, "--unknown-fails", code=0) == set()
    Path("edge.conf").write_text(
        "# moved\n\n" + CONF.replace("server {", "client_body_timeout 5s;\n    server {"), encoding="utf-8"
    )
    assert violated("edge.conf", *BASE, code=1) == {"NGX08"}


def test_a_line_with_another_content_is_a_new_finding_and_the_old_one_is_gone() -> None:
    run("edge.conf", "--create-baseline", "base.json", code=0)
    Path("edge.conf").write_text(CONF.replace("10s", "5s"), encoding="utf-8")
    found = page("edge.conf", *BASE, code=1)
    assert [one["rule"] for one in found["findings"] if one["outcome"] == "violated" and not one["suppressed"]] == [
        "NGX03"
    ]
    assert found["baseline_gone"] == 1
    assert found["notes"] == ["base.json  1 finding is not there any more: create the baseline again"]


def test_the_same_fault_in_another_file_or_once_more_is_new() -> None:
    Path("edge.conf").write_text(
        "http { server { client_body_timeout 5s;\n location / { proxy_pass http://a; } } }", encoding="utf-8"
    )
    run("edge.conf", "--create-baseline", "base.json", code=0)
    assert "NGX03" in violated("edge.conf", "old/edge.conf", *BASE, code=1)


def test_a_baseline_is_found_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("old/edge.conf", "--create-baseline", "base.json", code=0)
    monkeypatch.chdir(folder / "old")
    assert violated("edge.conf", "--baseline", "../base.json", code=0) == set()


def test_an_unknown_of_a_baseline_that_becomes_a_fault_is_reported() -> None:
    run("edge.conf", "--create-baseline", "base.json", code=0)
    assert "NGX05" in violated("edge.conf", *BASE, "--assume", "reloads=yes", "--assume", "nginx=1.24.0", code=1)


def test_a_baseline_holds_no_text_of_a_line() -> None:
    run("edge.conf", "--create-baseline", "base.json", code=0)
    entries = json.loads(Path("base.json").read_text(encoding="utf-8"))["findings"]
    assert all(len(one["line"]) == 16 for one in entries)


def test_an_accepted_finding_is_not_written_and_what_is_met_neither() -> None:
    Path("edge.conf").write_text(CONF.replace("8m;", "8m;  # changeover: ignore NGX07 -- avatars"), encoding="utf-8")
    run("edge.conf", "--create-baseline", "base.json", code=0)
    entries = json.loads(Path("base.json").read_text(encoding="utf-8"))["findings"]
    assert {one["outcome"] for one in entries} == {"violated", "unknown"}
    assert "NGX07" not in {one["rule"] for one in entries}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "this is no baseline"),
        ("[]", "this is no baseline"),
        ('{"format": 1, "findings": [{"rule": "NGX03"}]}', "this is no baseline"),
        ('{"format": 2, "findings": []}', "format 2 is not 1"),
    ],
)
def test_a_broken_baseline_is_an_error(text: str, what: str) -> None:
    Path("base.json").write_text(text, encoding="utf-8")
    assert what in run("edge.conf", *BASE, code=2).stderr


def test_no_baseline_is_written_of_what_was_not_read_in_whole() -> None:
    Path("broken.conf").write_text("http {\n server {", encoding="utf-8")
    run("edge.conf", "broken.conf", "--create-baseline", "base.json", code=2)
    assert not Path("base.json").exists()
    assert "none.json" in run("edge.conf", "--baseline", "none.json", code=2).stderr
    assert "cannot be combined" in run("edge.conf", *BASE, "--create-baseline", "b.json", code=2).stderr


def test_code_scanning_gets_what_accepts_a_finding() -> None:
    SETTINGS.write_text("ignore: [NGX07]\n", encoding="utf-8")
    run("edge.conf", "--sarif", "a.sarif", code=1)
    found = json.loads(Path("a.sarif").read_text(encoding="utf-8"))["runs"][0]["results"]
    (accepted,) = (one for one in found if one["ruleId"] == "NGX07")
    assert accepted["suppressions"] == [{"kind": "external", "justification": "ignored in .changeover-audit.yaml:1"}]


def test_a_diff_is_printed_and_nothing_is_written() -> None:
    output = run("edge.conf", "--diff", code=1).stdout
    assert output.startswith("--- edge.conf\n+++ edge.conf\n@@ -1,6 +1,6 @@\n-worker_shutdown_timeout 10s;\n+worker_")
    assert "edge.conf:1  NGX03  worker_shutdown_timeout: 10s -> 460s, --fix writes it" in output
    assert Path("edge.conf").read_text(encoding="utf-8") == CONF


def test_a_fix_is_written_and_the_report_is_of_the_new_file() -> None:
    file = Path("edge.conf")
    file.write_bytes(b"\xef\xbb\xbf" + CONF.replace("\n", "\r\n").encode())
    file.chmod(0o600)
    found = page("edge.conf", "--fix", "--assume", "nginx=1.24.0", code=1)
    assert {(one["key"], one["new"]) for one in found["fixes"]} == {
        ("worker_shutdown_timeout", "460s"),
        ("client_max_body_size", "60m"),
    }
    assert [one["rule"] for one in found["findings"] if one["outcome"] == "violated"] == ["NGX10"]
    changed = CONF.replace("10s", "460s").replace("8m", "60m").replace("\n", "\r\n")
    assert file.read_bytes() == b"\xef\xbb\xbf" + changed.encode()
    assert file.stat().st_mode & 0o777 == 0o600
    assert page("edge.conf", "--fix", "--assume", "nginx=1.24.0", code=1)["fixes"] == []


def test_a_file_and_a_link_to_it_are_written_once_and_the_link_stays() -> None:
    Path("link.conf").symlink_to("edge.conf")
    found = page("edge.conf", "link.conf", "--fix", "--assume", "nginx=1.24.0", code=1)
    assert {one["file"] for one in found["fixes"]} == {"edge.conf", "link.conf"}
    assert Path("link.conf").is_symlink()
    assert Path("edge.conf").read_text(encoding="utf-8") == CONF.replace("10s", "460s").replace("8m", "60m")


def test_nothing_is_written_if_a_file_cannot_be_read() -> None:
    Path("broken.conf").write_text("http {\n server {", encoding="utf-8")
    assert "nothing was written" in run("edge.conf", "broken.conf", "--fix", code=2).stdout
    assert Path("edge.conf").read_text(encoding="utf-8") == CONF


def test_an_accepted_finding_is_not_changed() -> None:
    SETTINGS.write_text("ignore: [NGX03]\n", encoding="utf-8")
    run("edge.conf", "--create-baseline", "base.json", code=0)
    SETTINGS.unlink()
    run("edge.conf", *BASE, "--fix", code=0)
    assert Path("edge.conf").read_text(encoding="utf-8") == CONF.replace("10s", "460s")
    assert "cannot be combined" in run("edge.conf", "--create-baseline", "b.json", "--fix", code=2).stderr


@pytest.mark.parametrize("option", ["--fix", "--diff"])
def test_what_judges_no_rule_writes_no_fix(option: str) -> None:
    assert "cannot be combined" in run("edge.conf", "--table", option, code=2).stderr
    assert Path("edge.conf").read_text(encoding="utf-8") == CONF
