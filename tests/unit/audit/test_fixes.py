"""What --fix writes: one value for one literal, after which the rule is met and no other is violated."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.unit.audit.expectations import audited, documents

from changeover.audit.finding import Outcome
from changeover.audit.handling.fixes import Fix, changed, diff, fixes
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.audit.setting import Replacement, Setting
from changeover.conf.place import Place

FIXABLE = [
    *(
        "APP01",
        "APP03",
        "CHN01",
        "CHN03",
        "ENV02",
        "ENV03",
        "GCP01",
        "GCP02",
        "GCP06",
        "GCP07",
        "GCP08",
        "GCP09",
        "GCP10",
        "HAP01",
    ),
    *(
        "KNG03",
        "KNG07",
        "KNG08",
        "MIG03",
        "MIG04",
        "MIG07",
        "MIG13",
        "NGX03",
        "NGX06",
        "NGX07",
        "NGX08",
        "NGX09",
        "STR01",
        "STR02",
        "STR03",
        "VM04",
    ),
]
SERVICE = 'resource "google_compute_backend_service" "a" {\n'
NGINX = "events {}\nhttp { server { location / { proxy_pass http://a; } } }\n"


def wanted(files: dict[str, str], **assume: str) -> list[Fix]:
    return fixes(audited(files, assume), files, documents(files))


def written(rule: Rule) -> list[Fix]:
    assume = {**rule.assume, **rule.assume_bad}
    return fixes(audited(rule.bad, assume, [rule]), rule.bad, documents(rule.bad))


def test_a_rule_with_one_value_for_one_literal_changes_its_bad_example() -> None:
    assert {rule.id for rule in all_rules() if written(rule)} == set(FIXABLE)


@pytest.mark.parametrize("rule", [rule for rule in all_rules() if rule.id in FIXABLE], ids=lambda rule: rule.id)
def test_what_is_written_meets_the_rule_and_violates_no_other(rule: Rule) -> None:
    assume = {**rule.assume, **rule.assume_bad}
    new = {**rule.bad, **changed(rule.bad, written(rule))}
    places = {(one.file, one.line) for one in written(rule)}
    after = audited(new, assume)
    judged = [
        one.finding.outcome
        for one in after.judged
        if one.rule is rule and (one.finding.place.file, one.finding.place.line) in places
    ]
    assert judged
    assert Outcome.VIOLATED not in judged
    before = {(one.rule.id, one.finding.place) for one in audited(rule.bad, assume).of(Outcome.VIOLATED)}
    assert {(one.rule.id, one.finding.place) for one in after.of(Outcome.VIOLATED)} < before


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("worker_shutdown_timeout 10s;", "worker_shutdown_timeout 460s;"),
        ("  worker_shutdown_timeout   10s ; # 10s", "  worker_shutdown_timeout   460s ; # 10s"),
        ("worker_shutdown_timeout 10;", "worker_shutdown_timeout 460;"),
        ("worker_shutdown_timeout '10s';", "worker_shutdown_timeout '460s';"),
        ("worker_shutdown_timeout 10s; # changeover: ignore NGX03 -- drained", None),
    ],
)
def test_only_the_literal_changes_with_the_unit_that_it_had(line: str, expected: str | None) -> None:
    files = {"nginx.conf": f"{line}\n{NGINX}"}
    new = changed(files, wanted(files))
    assert new == ({"nginx.conf": f"{expected}\n{NGINX}"} if expected else {})


@pytest.mark.parametrize(
    ("file", "line", "new"),
    [
        (
            "a.service",
            "ExecStart=/srv/gunicorn --timeout 60 --graceful-timeout=9 a:b",
            "--timeout 60 --graceful-timeout=440",
        ),
        ("a.service", "ExecStart=/srv/uvicorn a:b\nTimeoutStopSec=20s", "TimeoutStopSec=450s"),
        ("a.service", "ExecStart=/srv/uvicorn a:b\nKillSignal=SIGQUIT\nTimeoutStopSec=900", "KillSignal=SIGTERM"),
        ("a.service", "ExecStart=/usr/sbin/haproxy -Ws\nKillSignal=SIGTERM\nTimeoutStopSec=900", "KillSignal=SIGUSR1"),
        ("a.service", "ExecStart=/usr/sbin/nginx\nKillSignal=SIGQUIT\nTimeoutStopSec=20", "TimeoutStopSec=445"),
    ],
)
def test_a_stop_gets_the_signal_and_the_time_that_it_needs(file: str, line: str, new: str) -> None:
    files = {file: f"[Service]\n{line}\n"}
    assert new in changed(files, wanted(files))[file]


@pytest.mark.parametrize(
    "files",
    [
        {"lb.tf": f'variable "t" {{ default = 60 }}\n{SERVICE}  timeout_sec = var.t\n}}\n'},
        {"lb.tf": 'resource "google_compute_backend_service" "a" {\n timeout_sec = true ? 60 : 90\n}\n'},
        {"lb.json": '{"kind": "compute#backendService", "name": "a", "protocol": "HTTP",\n"timeoutSec": 60}'},
        {"a.txt": f"# configuration file /etc/nginx/nginx.conf:\nworker_shutdown_timeout 10s;\n{NGINX}"},
        {"app.service": "[Service]\nExecStart=/a/gunicorn --graceful-timeout 3 --graceful-timeout 5 shop:app\n"},
    ],
    ids=["a variable", "an expression", "printed by gcloud", "printed by nginx", "given twice"],
)
def test_a_value_that_is_no_literal_of_a_source_stays(files: dict[str, str]) -> None:
    assert audited(files).of(Outcome.VIOLATED)
    assert wanted(files) == []


def test_a_value_that_others_share_by_an_anchor_stays() -> None:
    text = "name: a\nx: &t 120s\ntiers:\n- name: edge\n  kind: nginx\n  drain: {policy: cut, deadline: %s}\n"
    assert wanted({"chain.yaml": text % "120s"})
    assert wanted({"chain.yaml": text % "*t"}) == []
    assert wanted({"chain.yaml": (text % "&u 120s")}) == []


def test_two_findings_that_ask_for_different_values_change_nothing() -> None:
    http = "http { server { location / { proxy_pass http://a; } } }"
    stream = "stream { server { listen 9000; proxy_pass b:80; } }"
    front = "http { upstream f { server c:9000; keepalive 8; } server { location / { proxy_pass http://f; } } }"
    files = {"n.conf": f"worker_shutdown_timeout 10s;\nevents {{}}\n{http}\n{stream}", "f.conf": front}
    found = audited(files, {"nginx": "1.29.7"})
    assert {one.rule.id for one in found.of(Outcome.VIOLATED) if one.finding.place == Place("n.conf", 1, 1)} >= {
        "NGX03"
    }
    assert len({one.replacement.new for one in fixes(found, files, documents(files)) if one.file == "n.conf"}) <= 1


def test_a_pod_gets_the_time_of_its_hook_and_of_the_longest_request() -> None:
    pod = "apiVersion: v1\nkind: Pod\nspec:\n  terminationGracePeriodSeconds: 60\n  containers:\n"
    container = "  - {name: a, image: b, ports: [{containerPort: 80}], lifecycle: {preStop: {sleep: {seconds: 15}}}}\n"
    files = {"pod.yaml": pod + container}
    new = changed(files, wanted(files))
    assert "  terminationGracePeriodSeconds: 475\n" in new["pod.yaml"]
    assert audited(new).of(Outcome.VIOLATED) == []


@pytest.mark.parametrize("rule", [rule for rule in all_rules() if rule.id in FIXABLE], ids=lambda rule: rule.id)
@pytest.mark.parametrize("end", ["\n", ""], ids=["", "without its last line end"])
def test_a_diff_is_one_that_patch_takes(rule: Rule, end: str, tmp_path: Path) -> None:
    """Without fuzz: every line of the patch is one of the file."""
    files = {file: text.removesuffix("\n") + end for file, text in rule.bad.items()}
    new = changed(files, fixes(audited(files, {**rule.assume, **rule.assume_bad}, [rule]), files, documents(files)))
    for file, text in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text, encoding="utf-8")
    patch = "\n".join(diff(files, new)) + "\n"
    subprocess.run(["patch", "-p0", "--fuzz=0"], cwd=tmp_path, input=patch, text=True, check=True, capture_output=True)
    assert {file: (tmp_path / file).read_text(encoding="utf-8") for file in new} == new


@pytest.mark.parametrize(
    ("text", "replacement"),
    [
        ("a_b 10s", Replacement("a_b", "10s", "60s")),
        ("a-b: 10s", Replacement("a-b", "10s", "60s")),
        ("--a 10", Replacement("--a", "10", "60")),
        ("A=10", Replacement("A", "10", "60")),
        ("a is not set, so it is 10s", None),
        ("A=1min 30s", None),
        ("a = int(b)", None),
    ],
)
def test_a_setting_knows_its_literal(text: str, replacement: Replacement | None) -> None:
    assert Setting(10.0, Place("a"), text).replaced_by(60) == replacement
