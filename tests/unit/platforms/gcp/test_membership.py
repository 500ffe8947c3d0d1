"""What backend services say of an instance: never more than they know."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from changeover.platforms.gcp.membership import SILENT, Health, Seen, ServiceAnswer
from changeover.platforms.gcp.membership import judge as judge_answers
from changeover.ports import Membership

HEALTHY, UNHEALTHY = ("HEALTHY",), ("UNHEALTHY",)
LEAVES = Seen(exists=True, lame=True, unhealthy_for=10.0)


def judge(
    name: str, seen: Seen, services: Sequence[tuple[str, Health | str]], propagation: float
) -> tuple[Membership, bool]:
    return judge_answers(name, seen, [ServiceAnswer.of(*one) for one in services], propagation)


def health(**states: tuple[str, ...]) -> Health:
    return states


def test_it_is_admitted_when_it_is_healthy_in_every_service_and_at_every_port() -> None:
    seen = Seen(exists=True, lame=False, unhealthy_for=0.0)
    both = [("a", health(new=HEALTHY)), ("b", health(new=("HEALTHY", "HEALTHY")))]
    assert judge("new", seen, both, 10.0)[0].admitted
    for other in (health(new=UNHEALTHY), health(new=("HEALTHY", "UNHEALTHY")), health(old=HEALTHY), health()):
        found, _ = judge("new", seen, [both[0], ("b", other)], 10.0)
        assert not found.admitted
        assert not found.removed


def test_a_lame_duck_is_removed_when_it_was_unhealthy_in_every_service_for_the_time_of_propagation() -> None:
    services = [("a", health(old=UNHEALTHY, new=HEALTHY)), ("b", health(old=UNHEALTHY, new=HEALTHY))]
    first, out = judge("old", Seen(exists=True, lame=True, unhealthy_for=0.0), services, 10.0)
    assert not first.removed
    assert out
    early, out = judge("old", Seen(exists=True, lame=True, unhealthy_for=9.9), services, 10.0)
    assert not early.removed, "not every proxy follows the health that the API reports yet"
    assert out
    second, _ = judge("old", LEAVES, services, 10.0)
    assert second.removed


@pytest.mark.parametrize(
    "answer",
    [health(), health(new=HEALTHY), health(old=HEALTHY, new=HEALTHY), "backend service b: 503", health(old=UNHEALTHY)],
    ids=["empty", "it is missing", "still healthy", "no answer", "no other is healthy"],
)
def test_without_a_clear_answer_of_every_service_it_is_not_removed(answer: Health | str) -> None:
    found, out = judge("old", LEAVES, [("a", health(old=UNHEALTHY, new=HEALTHY)), ("b", answer)], 10.0)
    assert not found.removed
    assert not found.admitted
    assert "b" in found.pending or "have not settled" in found.pending
    assert not out
    assert found.silent == isinstance(answer, str)


def test_unhealthy_alone_is_no_removal_while_the_agent_answers_that_it_is_no_lame_duck() -> None:
    seen = Seen(exists=True, lame=False, unhealthy_for=60.0)
    found, out = judge("old", seen, [("a", health(old=UNHEALTHY, new=HEALTHY))], 10.0)
    assert not found.removed
    assert not out


def test_a_vm_whose_agent_is_silent_is_out_when_no_service_finds_it_healthy_for_half_a_minute() -> None:
    """Its agent cannot confirm a lame duck, and a roll that waits for that never replaces the VM."""
    services = [("a", health(old=UNHEALTHY, new=HEALTHY)), ("b", health(old=UNHEALTHY, new=HEALTHY))]
    early, out = judge("old", Seen(exists=True, lame=None, unhealthy_for=SILENT - 1), services, 10.0)
    assert (early.removed, early.silent, out) == (False, True, True)
    assert "its agent, which does not answer" in early.pending
    assert judge("old", Seen(exists=True, lame=None, unhealthy_for=SILENT), services, 10.0)[0].removed
    for answer in (health(old=HEALTHY, new=HEALTHY), health(old=UNHEALTHY), health(new=HEALTHY), "no answer"):
        found, _ = judge("old", Seen(exists=True, lame=None, unhealthy_for=60.0), [services[0], ("b", answer)], 10.0)
        assert not found.removed


def test_what_its_group_does_not_have_any_more_is_removed() -> None:
    assert judge("old", Seen(exists=False, lame=None, unhealthy_for=0.0), [("a", "no answer")], 10.0)[0].removed
