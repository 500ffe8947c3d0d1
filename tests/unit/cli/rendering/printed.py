"""What a person sees of a result, and finished rollouts to print."""

from __future__ import annotations

from rich.console import Console, RenderableType

from changeover.engine.journal.records import RolloutRow
from changeover.engine.release.outcome import Rolled
from changeover.rollout.commands import Finish
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


def shown(picture: RenderableType) -> str:
    """The text, each run of spaces as one."""
    console = Console(width=300, no_color=True)
    with console.capture() as captured:
        console.print(picture)
    return "\n".join(" ".join(line.split()) for line in captured.get().splitlines())


GONE = Member(
    "runtime-v1-1",
    "v1",
    1,
    Phase.GONE,
    {"created": 0.0, "admitted": 5.0, "leaving": 100.0, "drained": 130.0, "stopping": 130.25, "gone": 130.5},
    last_busy=130.0,
)
NEW = Member("runtime-v2-2", "v2", 2, Phase.ADMITTED, {"created": 90.0, "admitted": 99.0})


def rolled(*members: Member, finish: Finish = Finish("completed")) -> Rolled:  # noqa: B008
    row = RolloutRow(1, "runtime", "v1", "v2", 90.0, 131.0, finish.outcome, finish.reason, hooks_done=True)
    return Rolled(row, finish, 41.0, members or (GONE, NEW), 2)
