"""New instances that die after they served: they hold the rollout back, and it never completes while they die."""

from __future__ import annotations

from tests.unit.rollout.playbook import A, B, C, D, Said, leaving, script

from changeover.rollout.commands import CreateInstance, Finish, Remove
from changeover.rollout.events import ActionRequested, GuardJudged, InstanceGone, RouterConfirmed, Started, Tick
from changeover.rollout.tier.actions import Action


def test_after_a_death_no_old_instance_leaves_before_the_newest_one_has_served_for_the_watch() -> None:
    with script(size=2, watch=10) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.serve(C, at=2).expect(*leaving(A))
        s.event(InstanceGone(4, C)).expect(Said("died", C), Remove(C), CreateInstance(D, "v2"))
        s.event(RouterConfirmed(4, C, admitted=False))
        s.leave(A, at=5).expect(CreateInstance("web-v2-5", "v2"))
        s.serve(D, at=6)
        s.serve("web-v2-5", at=7)
        s.event(Tick(17.9))
        s.event(Tick(18)).expect(*leaving(B))


def test_a_rollout_completes_when_its_newest_instance_has_served_for_the_watch() -> None:
    with script(size=1, watch=10) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.leave(A, at=5)
        s.event(Tick(12.9))
        s.event(Tick(13)).expect(Finish("completed"))


def test_a_paused_rollout_is_not_complete_though_all_its_instances_are_replaced() -> None:
    """A guard pauses it for want of data: to complete would be to pass without any."""
    with script(size=1, watch=10) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.leave(A, at=5)
        s.event(GuardJudged(9, "inconclusive", "no data")).expect(Said("paused: guard: no data"))
        s.event(Tick(60))
        assert s.status == "paused"
        s.event(ActionRequested(61, Action.RESUME)).expect(Said("resume"), Finish("completed"))


def test_a_version_that_dies_within_the_watch_again_and_again_is_undone() -> None:
    with script(size=1, watch=10) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.leave(A, at=5)
        for serial in (2, 3):
            dead, following, at = f"web-v2-{serial}", f"web-v2-{serial + 1}", 5.0 * serial
            s.event(InstanceGone(at, dead)).expect(Said("died", dead), Remove(dead), CreateInstance(following, "v2"))
            s.event(RouterConfirmed(at, dead, admitted=False))
            s.serve(following, at=at + 1)
        last = "web-v2-4"
        s.event(InstanceGone(20, last)).expect(
            Said("died", last), Said("going back"), Remove(last), CreateInstance("web-v1-5", "v1")
        )
        assert s.status == "undoing"


def test_after_a_long_drain_the_newest_instance_is_watched_for_as_long_within_the_limit() -> None:
    with script(size=1, watch=10, watch_limit=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.event(InstanceGone(5, "web-v2-2")).expect(
            Said("died", "web-v2-2"), Remove("web-v2-2"), CreateInstance("web-v2-3", "v2")
        )
        s.event(RouterConfirmed(5, "web-v2-2", admitted=False))
        s.event(RouterConfirmed(5, A, admitted=False))
        s.serve("web-v2-3", at=29)
        s.leave(A, at=33)  # its drain took 30 seconds: it began at 3
        s.event(Tick(59.9))
        s.event(Tick(60)).expect(Finish("completed"))


def test_a_drain_beyond_the_limit_is_watched_for_the_limit() -> None:
    with script(size=1, watch=10, watch_limit=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        s.leave(A, at=403).expect(Finish("completed"))
