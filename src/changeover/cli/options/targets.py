"""Options of `roll` and `plan`: the target template of each tier, and the strategy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from changeover import wiring
from changeover.engine.journal.journal import Journal
from changeover.engine.release.release import find, revisions
from changeover.model.chain import Tier
from changeover.model.errors import fail
from changeover.model.revision import template_of

TierArgument = Annotated[str, typer.Argument(help="The tier to roll. Not with --all or --release.")]
ToOption = Annotated[str, typer.Option("--to", help="The template to roll to.")]
AllOption = Annotated[bool, typer.Option("--all", help="Roll every tier that has the template.")]
ReleaseOption = Annotated[
    Path | None, typer.Option("--release", help="YAML file of `tier: template` lines, rolled as one release.")
]


class StrategyName(StrEnum):
    """The strategies that --strategy takes."""

    ROLLING = "rolling"
    CANARY = "canary"
    BLUE_GREEN = "blue-green"


StrategyOption = Annotated[
    StrategyName | None, typer.Option("--strategy", help="Use this strategy instead of the chain file's.")
]


RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Replace the instances of TIER, or of --all tiers, by new ones of the template that they run: its code or "
        "data on disk has changed.",
    ),
]


def requested_targets(
    found: wiring.Wired,
    journal: Journal,
    tier: str,
    to: str,
    everything: bool,
    release: Path | None,
    restart: bool,
) -> dict[str, str]:
    """The goal of each tier. Raises ChangeoverError if the options conflict or name something unknown."""
    if restart:
        if bool(tier) == everything or to or release is not None:
            raise fail(
                "give exactly one of: `TIER --restart`, `--all --restart`; a restart takes no --to and no --release"
            )
        named = {
            one.name: running_template(journal, one) for one in found.chain.tiers if everything or one.name == tier
        }
    else:
        named = _named(found, tier, to, everything, release)
    if tier and not named:
        find(found.runtime, tier, to)
    return revisions(found.runtime, journal, named, restart=restart)


def running_template(journal: Journal, tier: Tier) -> str:
    """The template that a tier runs, or is being rolled to."""
    state = journal.tier(tier.name)
    return template_of(state.goal if state else tier.first)


def _named(found: wiring.Wired, tier: str, to: str, everything: bool, release: Path | None) -> dict[str, str]:
    if sum((bool(tier), everything, release is not None)) != 1 or bool(to) == (release is not None):
        raise fail("give exactly one of: `TIER --to V`, `--all --to V`, `--release FILE`, `TIER --restart`")
    if everything:
        every = {one.name: to for one in found.chain.tiers if to in one.templates}
        if not every:
            raise fail(f"no tier has a template {to}")
        return every
    named = {tier: to} if release is None else _read_release(release)
    for name, template in named.items():
        find(found.runtime, name, template)
    return named


def _read_release(file: Path) -> dict[str, str]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise fail(f"the release file cannot be read: {error}", where=str(file)) from error
    if (
        not isinstance(content, dict)
        or not all(isinstance(v, str) and isinstance(k, str) for k, v in content.items())
        or not content
    ):
        raise fail("a release file is a mapping of tier to template, such as `runtime: v2`", where=str(file))
    return content
