"""The traffic that the probe sends through a chain, unless options say otherwise."""

from __future__ import annotations

from changeover import wiring
from changeover.model.errors import fail
from changeover.model.probe import ProbeSettings
from changeover.probe.example import EXAMPLE


def traffic_of(found: wiring.Wired, *, paths_given: bool = False) -> ProbeSettings:
    """The chain file's `probe`, or the example's traffic where the chain runs the example application.

    `paths_given`: options name the requests. Raises ChangeoverError where nothing says what the application answers.
    """
    if found.chain.probe is not None:
        return found.chain.probe
    last = [tier.name for tier in found.chain.tiers if not found.chain.behind(tier.name)]
    if any(not getattr(template, "command", ()) for tier in last for template in found.settings[tier].values()):
        return EXAMPLE
    if paths_given:
        return ProbeSettings()
    raise fail(
        f"the chain file has no `probe`, and tier {last[-1]} runs another application than the example",
        state="No request was sent.",
        next="Name what the application answers: `probe: {get: [{path: /}]}` in the chain file, or --get PATH.",
    )
