"""A rollout that has ended, as one object and as text: the times of each instance, what was cut, what to do next."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.cli.rendering.printed import GONE, NEW, rolled, shown

from changeover.cli.rendering.rolled import idle_before_stop, one_or_all, rolled_data, rolled_text
from changeover.rollout.commands import Finish
from changeover.rollout.members.phases import Phase

CUT = replace(GONE, cut="1 upload with 12.3 MB to come")


def test_the_time_from_the_last_request_to_the_stop_is_known_only_with_both() -> None:
    assert idle_before_stop(GONE) == 0.25
    assert idle_before_stop(NEW) is None
    assert idle_before_stop(replace(GONE, last_busy=None)) is None


def test_the_object_has_the_times_by_phase_and_what_was_cut() -> None:
    data = rolled_data(rolled(CUT, NEW))
    assert (data["tier"], data["from"], data["to"], data["outcome"], data["seconds"]) == (
        "runtime",
        "v1",
        "v2",
        "completed",
        41.0,
    )
    old, new = data["instances"]
    assert old["times"] == {"admitted": 5.0, "leaving": 100.0, "drained": 130.0, "stopping": 130.25, "gone": 130.5}
    assert (old["cut"], old["seconds_from_last_in_flight_to_stop"]) == ("1 upload with 12.3 MB to come", 0.25)
    assert (new["cut"], new["phase"]) == (None, "admitted")


def test_one_rollout_is_itself_and_several_are_a_list_with_the_outcome_of_all() -> None:
    assert one_or_all([{"tier": "a"}], "completed") == {"tier": "a"}
    assert one_or_all([{"tier": "a"}, {"tier": "b"}], "undone") == {
        "outcome": "undone",
        "rolls": [{"tier": "a"}, {"tier": "b"}],
    }


def test_a_completed_rollout_is_a_table_of_its_instances() -> None:
    text = shown(rolled_text(rolled()))
    assert "runtime: v1 -> v2 in 41s" in text
    assert "runtime-v1-1 │ v1 │ 5s │ 1m35s │ 30s │ 250ms" in text
    assert "runtime-v2-2 │ v2 │ 9s │ - │ - │ -" in text


def test_what_was_cut_is_named_below_the_table() -> None:
    assert shown(rolled_text(rolled(CUT))).endswith("cut at the drain deadline: 1 upload with 12.3 MB to come.")


def test_an_undone_rollout_names_the_reason_what_serves_and_what_to_do_next() -> None:
    assert shown(rolled_text(rolled(finish=Finish("undone", "guard: errors")))).splitlines() == [
        "runtime: v1 -> v2 was undone: guard: errors",
        "2 instances of v1 serve all traffic.",
        "Nothing was cut.",
        "Correct v2 and run `changeover roll runtime --to v2` again; `changeover retry` rolls to it unchanged.",
    ]
    failed = shown(rolled_text(rolled(CUT, finish=Finish("failed", "no start"))))
    assert "was not completed: no start" in failed
    assert "Nothing was cut" not in failed


def test_what_an_instance_had_in_flight_when_it_died_is_named() -> None:
    dead = replace(NEW, phase=Phase.GONE, served=True, times={"admitted": 99.0, "failed": 120.0, "gone": 121.0})
    busy = replace(dead, cut="1 request")
    assert shown(rolled_text(rolled(busy))).endswith("runtime-v2-2: died with 1 request in flight.")
    assert [one["died"] for one in rolled_data(rolled(dead, NEW))["instances"]] == [True, False]


def test_a_death_that_broke_nothing_is_named_and_interrupts_nothing() -> None:
    text = "runtime-v2-2 of tier runtime died while admitted: 0 requests broken."
    done = replace(rolled(), deaths=(text,))
    assert shown(rolled_text(done)).endswith(text)
    data = rolled_data(done)
    assert (data["interrupted"], data["interruptions"], data["deaths"]) == (False, [], [text])
    assert rolled_data(replace(rolled(), interruptions=("1 request broken.",)))["interrupted"]


def test_what_interrupted_the_chain_meanwhile_is_named() -> None:
    broken = replace(rolled(), interruptions=("The load balancer ended.",))
    assert shown(rolled_text(broken)).endswith("The load balancer ended.")
    assert rolled_data(broken)["interruptions"] == ["The load balancer ended."]


def test_a_tier_without_an_instance_in_service_is_not_said_to_serve() -> None:
    text = shown(rolled_text(replace(rolled(finish=Finish("failed", "the way back is barred too")), serving=0)))
    assert "No instance of tier runtime is in service: `changeover status` names the reasons." in text
    assert "serve all traffic" not in text
