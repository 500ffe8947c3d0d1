from __future__ import annotations

import json

from tests.unit.probe.rows import row

from changeover.probe.report import to_json
from changeover.probe.verdict import judge_rows

UPLOAD = row(kind="upload", path="/upload", status=201, bytes_sent=50_000_000, ref="r1")


def test_a_run_without_a_loss_is_clean_and_has_a_summary_of_one_sentence() -> None:
    verdict = judge_rows([row()] * 41_284 + [UPLOAD, row(kind="check")] * 96)
    assert verdict.clean
    assert verdict.summary == "0 lost, 0 duplicated, 0 corrupted of 41,380 GET and 96 POST (4.8 GB)"


def test_nothing_sent_proves_nothing() -> None:
    verdict = judge_rows([])
    assert not verdict.clean
    assert verdict.summary == "the probe sent no requests, which proves nothing"
    assert verdict.get_latency_ms is None


def test_a_planned_kind_without_a_single_success_proves_nothing() -> None:
    verdict = judge_rows([row()], planned=("get", "upload"))
    assert not verdict.clean
    assert verdict.kinds_without_success == ("upload",)
    assert verdict.summary.endswith("no successful upload, so this proves nothing")


def test_what_was_corrupted_was_also_lost() -> None:
    verdict = judge_rows([row(), row(outcome="corrupted", reason="wrong body")])
    assert (verdict.lost, verdict.corrupted, verdict.duplicated) == (1, 1, 0)
    assert not verdict.clean


def test_a_duplicate_is_not_lost_and_not_clean() -> None:
    verdict = judge_rows([row(), row(kind="check", outcome="duplicated", reason="stored 2 times")])
    assert (verdict.lost, verdict.corrupted, verdict.duplicated) == (0, 0, 1)
    assert not verdict.clean


def test_losses_of_checks_and_read_backs_count_like_any_other() -> None:
    lost = {"outcome": "lost", "reason": "status 502"}
    verdict = judge_rows([row(), row(kind="check", **lost), row(kind="readback", **lost)])
    assert verdict.lost == 2
    assert verdict.counts["check"].lost == verdict.counts["readback"].lost == 1


def test_losses_are_counted_by_reason_and_by_the_tier_that_moved_the_most_frequent_first() -> None:
    verdict = judge_rows(
        [
            row(outcome="lost", reason="timeout"),
            row(outcome="lost", reason="reset before response", tier_state={"moving": "edge"}),
            row(outcome="lost", reason="reset before response", tier_state={"moving": None}),
            row(outcome="lost", reason="reset before response", tier_state={"moving": "edge"}),
        ]
    )
    assert list(verdict.failures_by_reason.items()) == [("reset before response", 3), ("timeout", 1)]
    assert list(verdict.failures_by_moving_tier.items()) == [("edge", 2), ("none", 1), ("unknown", 1)]


def test_latency_counts_from_when_a_get_was_due_and_includes_the_lost_ones() -> None:
    verdict = judge_rows(
        [row(), row(scheduled=990.0, outcome="lost", reason="timeout"), row(kind="check", scheduled=0.0)]
    )
    assert verdict.get_latency_ms is not None
    assert 10 <= verdict.get_latency_ms.p50 <= 10.4
    assert verdict.get_latency_ms.max == 10_010


def test_who_served_what_is_counted_over_what_went_well() -> None:
    verdict = judge_rows(
        [row(version="v2"), row(), UPLOAD, row(kind="upload", outcome="lost", reason="timeout", bytes_sent=7)]
    )
    assert verdict.gets_by_version == {"v1": 1, "v2": 1}
    assert verdict.uploads_by_instance == {"a1": 1}
    assert verdict.uploads_by_version == {"v1": 1}
    assert verdict.bytes_uploaded == 50_000_000


def test_a_read_back_that_was_left_to_the_writer_proves_no_upload() -> None:
    verdict = judge_rows(
        [
            row(kind="readback", note="left to the writer"),
            row(kind="readback", note="read by the writer"),
            row(kind="readback"),
            row(kind="check", note="stored although lost"),
        ]
    )
    assert (verdict.uploads_read_back, verdict.uploads_read_back_by_writer, verdict.uploads_lost_but_stored) == (
        2,
        1,
        1,
    )


def test_only_the_first_few_rows_that_went_wrong_are_kept() -> None:
    verdict = judge_rows([row(outcome="lost", reason="timeout", ref=str(n)) for n in range(100)])
    assert [wrong.ref for wrong in verdict.first_failures] == [str(n) for n in range(10)]


def test_the_json_holds_the_summary_the_numbers_and_the_rows() -> None:
    verdict = judge_rows([row(), row(outcome="lost", reason="timeout", tier_state={"moving": "edge"})])
    printed = json.loads(to_json(verdict))
    assert printed["summary"] == verdict.summary
    assert (printed["lost"], printed["clean"]) == (1, False)
    assert printed["counts"]["get"] == {"sent": 2, "ok": 1, "lost": 1, "corrupted": 0, "duplicated": 0}
    assert printed["first_failures"][0]["tier_state"] == {"moving": "edge"}
