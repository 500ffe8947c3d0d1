"""The alerts: each fires on what it is about and stays silent beside it, by promtool; each has its runbook.

A series is written as promtool has it: `0+1x10` is eleven samples, a minute apart, each one more than the last.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from changeover.web.metrics.definitions import METRICS, PREFIX

ROOT = Path(__file__).parents[4]
ALERTS = ROOT / "monitoring/alerts.yaml"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()

TIER = 'chain="a", tier="runtime"'
LOST, OK = (f'probe_requests_total{{chain="a", kind="get", outcome="{outcome}"}}' for outcome in ("lost", "ok"))


@dataclass(frozen=True)
class Case:
    """Series, without the prefix -> samples. `fires`: whether the alert does, `at` so many minutes after the first."""

    alert: str
    fires: bool
    series: dict[str, str]
    at: int = 20


def info(status: str) -> dict[str, str]:
    return {f'tier_info{{{TIER}, kind="app", version="v2", status="{status}"}}': "1x5000"}


def oldest(phase: str, seconds: int, unconfirmed: int = 0) -> dict[str, str]:
    return {
        f'phase_oldest_seconds{{{TIER}, phase="{phase}"}}': f"{seconds}x20",
        f'router_unconfirmed_instances{{{TIER}, change="admission"}}': f"{unconfirmed}x20",
    }


STUCK = {f"rollout_progress_timestamp_seconds{{{TIER}}}": "0x100", **info("rolling")}
CASES = (
    Case("ChangeoverRequestLost", True, {LOST: "0x15 1x10"}),
    Case("ChangeoverRequestLost", True, {LOST.replace("lost", "duplicated"): "0x15 1x10"}),
    Case("ChangeoverRequestLost", False, {LOST: "5x20", OK: "0+6000x20"}),
    Case("ChangeoverRequestsInterrupted", True, {f"interruptions_total{{{TIER}}}": "3x15 4x10"}),
    Case("ChangeoverRequestsInterrupted", False, {f"interruptions_total{{{TIER}}}": "3x20"}),
    Case("ChangeoverDrainOverdue", True, {f"overdue_drains{{{TIER}}}": "0x10 1x10"}),
    Case("ChangeoverDrainOverdue", False, {f"overdue_drains{{{TIER}}}": "0x20"}),
    Case("ChangeoverDrainCut", True, {f'drain_duration_seconds_count{{{TIER}, end="deadline"}}': "0x15 1x10"}),
    Case("ChangeoverDrainCut", False, {f'drain_duration_seconds_count{{{TIER}, end="emptied"}}': "0+1x20"}),
    Case("ChangeoverRolloutStuck", True, STUCK),
    Case("ChangeoverRolloutStuck", True, {**STUCK, f"drain_remaining_seconds{{{TIER}}}": "-5x100"}),
    Case("ChangeoverRolloutStuck", False, STUCK, at=10),
    Case("ChangeoverRolloutStuck", False, {**STUCK, f"drain_remaining_seconds{{{TIER}}}": "5x100"}),
    Case("ChangeoverRolloutStuck", False, {**STUCK, f"step_remaining_seconds{{{TIER}}}": "60x100"}),
    Case("ChangeoverRolloutStuck", False, {**STUCK, **info("paused")} | {next(iter(info("rolling"))): "_x100"}),
    Case("ChangeoverRolloutWaits", True, info("paused"), at=31),
    Case("ChangeoverRolloutWaits", True, info("holding"), at=31),
    Case("ChangeoverRolloutWaits", False, info("paused"), at=29),
    Case("ChangeoverRolloutWaits", False, info("rolling"), at=60),
    Case("ChangeoverRouterNotConfirming", True, oldest("leaving", 61)),
    Case("ChangeoverRouterNotConfirming", True, oldest("ready", 61, unconfirmed=1)),
    Case("ChangeoverRouterNotConfirming", False, oldest("leaving", 59)),
    Case("ChangeoverRouterNotConfirming", False, oldest("ready", 600)),
    Case("ChangeoverRouterNotConfirming", False, oldest("draining", 600, unconfirmed=1)),
    Case("ChangeoverControllerGone", True, {'controller_up{chain="a"}': "1x10 0x10"}),
    Case("ChangeoverControllerGone", False, {'controller_up{chain="a"}': "1x20"}),
    Case("ChangeoverTemplateCrashLooping", True, {f"tier_consecutive_failures{{{TIER}}}": "0x10 3x10"}),
    Case("ChangeoverTemplateCrashLooping", True, {f"instance_failures_total{{{TIER}}}": "7x10 8 9 10 10x10"}),
    Case("ChangeoverTemplateCrashLooping", False, {f"tier_consecutive_failures{{{TIER}}}": "2x20"}),
    Case("ChangeoverTemplateCrashLooping", False, {f"instance_failures_total{{{TIER}}}": "7x10 8x10"}),
    Case(
        "ChangeoverBelowFloor",
        True,
        {f"tier_serving_instances{{{TIER}}}": "2x20", f"tier_floor_instances{{{TIER}}}": "3x20"},
    ),
    Case(
        "ChangeoverBelowFloor",
        False,
        {f"tier_serving_instances{{{TIER}}}": "3x20", f"tier_floor_instances{{{TIER}}}": "3x20"},
    ),
    Case("ChangeoverKeeperGone", True, {'keeper_up{chain="a"}': "1x10 0x10"}),
    Case("ChangeoverKeeperGone", False, {'keeper_up{chain="a"}': "1x20"}),
    Case("ChangeoverCertificateExpires", True, {f"certificate_expiry_timestamp_seconds{{{TIER}}}": "1209600x20"}),
    Case("ChangeoverCertificateExpires", False, {f"certificate_expiry_timestamp_seconds{{{TIER}}}": "1300000x20"}),
    Case(
        "ChangeoverDiskNearlyFull",
        True,
        {'state_disk_free_bytes{chain="a"}': "9x20", 'state_disk_size_bytes{chain="a"}': "100x20"},
    ),
    Case(
        "ChangeoverDiskNearlyFull",
        False,
        {'state_disk_free_bytes{chain="a"}': "11x20", 'state_disk_size_bytes{chain="a"}': "100x20"},
    ),
    Case(
        "ChangeoverBodyDiskNearlyFull",
        True,
        {f"body_disk_free_bytes{{{TIER}}}": "9x20", f"body_disk_size_bytes{{{TIER}}}": "100x20"},
    ),
    Case(
        "ChangeoverBodyDiskNearlyFull",
        False,
        {f"body_disk_free_bytes{{{TIER}}}": "11x20", f"body_disk_size_bytes{{{TIER}}}": "100x20"},
    ),
    # Room on the disk of the journal says nothing about the disk of the bodies.
    Case(
        "ChangeoverBodyDiskNearlyFull",
        True,
        {
            f"body_disk_free_bytes{{{TIER}}}": "9x20",
            f"body_disk_size_bytes{{{TIER}}}": "100x20",
            'state_disk_free_bytes{chain="a"}': "90x20",
            'state_disk_size_bytes{chain="a"}': "100x20",
        },
    ),
    Case("ChangeoverBodyBufferNearlyFull", True, {f"buffered_body_ratio{{{TIER}}}": "0.91x20"}),
    Case("ChangeoverBodyBufferNearlyFull", False, {f"buffered_body_ratio{{{TIER}}}": "0.89x20"}),
    Case("ChangeoverBodyBufferNearlyFull", False, {f"buffered_body_ratio{{{TIER}}}": "0.1x19 1 0.1"}, at=19),
    Case("ChangeoverJournalUnreadable", True, {'journal_readable{state="/a"}': "0x20"}),
    Case("ChangeoverJournalUnreadable", False, {'journal_readable{state="/a"}': "1x20"}),
    Case("ChangeoverMetricsMissing", True, {'chain_up{chain="a"}': "1x5"}),
    Case("ChangeoverMetricsMissing", False, {'journal_readable{state="/a"}': "0x20"}),
    # 2 % of 6,000 a minute are 20 times the budget; 0.05 % are half of it.
    Case("ChangeoverErrorBudgetBurn", True, {LOST: "0+120x60", OK: "0+5880x60"}, at=60),
    Case("ChangeoverErrorBudgetBurn", False, {LOST: "0+3x4400", OK: "0+5997x4400"}, at=4400),
    # A burn that has ended: the long windows still see it, the short ones no more.
    Case("ChangeoverErrorBudgetBurn", False, {LOST: "0+120x60 7200x400", OK: "0+5880x460"}, at=440),
)


LONG = 200
"""Minutes from which the rules are evaluated each ten minutes alone: three days of minutes are 4,400 evaluations."""


def promtool_test(cases: tuple[Case, ...], folder: Path) -> subprocess.CompletedProcess[str]:
    """Insist, for each case, on whether its alert fires: `ALERTS` has one series for each that does."""
    files = []
    for every, some in (
        ("1m", [case for case in cases if case.at < LONG]),
        ("10m", [case for case in cases if case.at >= LONG]),
    ):
        file = folder / f"tests-{every}.yaml"
        content = {"rule_files": [str(ALERTS)], "evaluation_interval": every, "tests": _tests(some)}
        file.write_text(yaml.safe_dump(content))
        files += [str(file)] if some else []
    return subprocess.run(
        ["promtool", "test", "rules", *files], capture_output=True, text=True, timeout=100, check=False
    )


def _tests(cases: Sequence[Case]) -> list[dict[str, object]]:
    return [
        {
            "interval": "1m",
            "name": f"{case.alert} {'fires' if case.fires else 'is silent'}: {case.series}",
            "input_series": [{"series": PREFIX + name, "values": values} for name, values in case.series.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}}) > bool 0 or vector(0)',
                    "eval_time": f"{case.at}m",
                    "exp_samples": [{"labels": "{}", "value": int(case.fires)}],
                }
            ],
        }
        for case in cases
    ]


needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: Debian's package prometheus"
)


@needs_promtool
def test_every_alert_fires_on_what_it_is_about_and_on_nothing_else(tmp_path: Path) -> None:
    done = promtool_test(CASES, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_a_wrong_expectation_is_found(tmp_path: Path) -> None:
    """The check of the check: a silent alert that is to fire fails."""
    wrong = Case("ChangeoverKeeperGone", True, {'keeper_up{chain="a"}': "1x20"})
    assert promtool_test((wrong,), tmp_path).returncode != 0


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    names = {rule["alert"] for rule in RULES}
    for fires in (True, False):
        assert {case.alert for case in CASES if case.fires is fires} == names


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    names = [*dict.fromkeys(rule["alert"] for rule in RULES)]
    assert sorted(re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)) == sorted(names)
    for section in RUNBOOKS.split("\n## ")[1:]:
        assert re.findall(r"^\*\*(\w+)\.\*\*", section, re.MULTILINE) == ["Means", "Look", "Do"], section
        assert "`changeover " in section, section
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_alerts_name_metrics_and_labels_that_there_are() -> None:
    for rule in RULES:
        used = re.findall(rf"{PREFIX}(\w+?)(?:_count)?(?:\{{(.*?)\}})?(?=[\[\s<>)=]|$)", rule["expr"])
        assert used, rule["alert"]
        for name, matchers in used:
            labels = set(re.findall(r"(\w+)(?:=|!=|=~)\"", matchers))
            assert labels <= set(METRICS[name].labels), (rule["alert"], name)
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        assert shown <= {label for name, _ in used for label in METRICS[name].labels}, rule["alert"]
