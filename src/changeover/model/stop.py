"""How an instance of a template is stopped: `stop` in a chain file. Refuses signals that no program can act on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from changeover.model.config_model import ConfigModel
from changeover.model.units import Seconds

StopTo = Literal["group", "leader"]


class Stop(ConfigModel):
    """How an instance of this template ends when nothing is in flight on it any more."""

    signal: Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH"] | None = Field(
        None, description="The signal on which it ends gracefully. None: the one that its software documents."
    )
    grace: Seconds | None = Field(
        None,
        gt=0,
        description="Time from the signal to SIGKILL, for work that goes on after its response. None: `drain.deadline` "
        "of the tier. A kill is reported, and the rollout's exit code is 3.",
    )
    to: StopTo | None = Field(
        None,
        description="`group`: every process of the instance gets the signal, as a shell without `exec` does not pass "
        "it on; `leader`: its first process alone. None: `group` for an application, `leader` for other software.",
    )


class TemplateSettings(ConfigModel):
    """The keys that templates of every kind have."""

    stop: Stop | None = Field(
        None,
        description="How its instances end: `{signal: TERM, grace: 30s, to: group}`. By default the signal is the one "
        "of the software, and the grace is `drain.deadline`.",
    )
