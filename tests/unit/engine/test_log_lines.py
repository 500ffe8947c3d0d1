"""`show` prints what happened in words."""

from __future__ import annotations

import pytest

from changeover.engine.log_lines import in_words
from changeover.model.instance import InFlight, Upload
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.tier.actions import Action


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (on.InstanceReady(1.0, "runtime-v2-3"), "instance ready"),
        (on.InstanceGone(1.0, "runtime-v2-3", "no such table: reels"), "instance gone: reason no such table: reels"),
        (on.RouterConfirmed(1.0, "runtime-v2-3", admitted=False), "router confirmed: not admitted"),
        (on.ActionRequested(1.0, Action.ABORT, "alice"), "action requested: abort, requester alice"),
        (on.InFlightSeen(1.0, "a", InFlight(1, 2, (Upload(1, 3, 0.5),))), "in flight seen: 1 upload with 2 B to come"),
        (do.CreateInstance("runtime-v2-3", "v2"), "create instance: template v2"),
        (do.Stop("runtime-v2-3", kill=True), "stop: kill"),
        (do.Finish("undone", "guard: errors"), "finish: outcome undone, reason guard: errors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_of_the_log_is_in_words(thing: on.Event | do.Command, words: str) -> None:
    assert in_words(thing).startswith(words)
