"""A restart: new instances of the same template replace all old ones, as in any rollout."""

from __future__ import annotations

from tests.unit.rollout.playbook import A, B, Said, leaving, script

from changeover.model.revision import next_revision
from changeover.rollout.commands import CreateInstance, Finish, LameDuck
from changeover.rollout.events import ActionRequested, InstanceGone, RouterConfirmed, Started, Tick
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.context import degraded

AGAIN = next_revision("v1", 2)
N3, N4, N5, N6 = (f"web-v1-{serial}" for serial in range(3, 7))


def test_all_instances_are_replaced_by_new_ones_of_the_same_template() -> None:
    with script(size=2, surge=1) as s:
        s.event(Started(0, AGAIN)).expect(CreateInstance(N3, "v1"))
        s.serve(N3, at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(CreateInstance(N4, "v1"))
        s.serve(N4, at=4).expect(*leaving(B))
        s.leave(B, at=6).expect(Finish("completed"))
        assert s.phases() == {N3: "admitted", N4: "admitted"}


def test_an_aborted_restart_readmits_the_instances_from_before() -> None:
    with script(size=1, surge=1) as s:
        s.event(Started(0, AGAIN)).expect(CreateInstance("web-v1-2", "v1"))
        s.serve("web-v1-2", at=1).expect(*leaving(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        s.event(ActionRequested(4, Action.ABORT, reason="errors")).expect(
            Said("going back to the instances of v1 from before the restart"), LameDuck(A, on=False)
        )
        s.serve(A, at=5).expect(*leaving("web-v1-2"))
        s.leave("web-v1-2", at=7).expect(Finish("undone", "errors"))


def test_a_second_restart_replaces_the_instances_of_the_first() -> None:
    with script(size=1, surge=1) as s:
        for serial, at in ((2, 0), (3, 100)):
            old, new = f"web-v1-{serial - 1}", f"web-v1-{serial}"
            s.event(Started(at, next_revision("v1", serial - 1))).expect(CreateInstance(new, "v1"))
            s.serve(new, at=at + 1).expect(*leaving(old))
            s.leave(old, at=at + 3).expect(Finish("completed"))


def test_an_instance_that_dies_after_a_restart_is_replaced_and_counted_and_no_way_back_is_promised() -> None:
    with script(size=1, surge=1) as s:
        s.event(Started(0, AGAIN)).expect(CreateInstance("web-v1-2", "v1"))
        s.serve("web-v1-2", at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(Finish("completed"))
        for serial in (2, 3, 4):
            s.event(InstanceGone(serial * 10, f"web-v1-{serial}"))
            s._given = ()
            s.event(RouterConfirmed(serial * 10, f"web-v1-{serial}", admitted=False))
            if serial < 4:
                s.serve(f"web-v1-{serial + 1}", at=serial * 10 + 1)
        s.event(Tick(42)).expect(CreateInstance("web-v1-5", "v1"))
        assert degraded(s.machine.settings, s.machine.tier, 0, 43) == "instances of v1 keep failing: 3 in a row"
