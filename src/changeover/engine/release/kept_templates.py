"""The templates that run or that a rollout can return to, kept whole in the state folder.

The chain file may lose or change a template at any time. An undo must start what ran before, and nothing else. Refuses
to decide what happens when the chain file differs: `runtime.check_templates` does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from changeover.engine.journal.journal import Journal
from changeover.kit.files import write_whole
from changeover.model.chain import Chain, Tier
from changeover.model.errors import fail
from changeover.model.revision import template_of

FORMAT = 1
_FILE = "templates.json"


@dataclass(frozen=True)
class KeptTier:
    """One tier's templates as the chain file had them. `kind`: the software that their settings are for."""

    kind: str
    templates: Mapping[str, Mapping[str, Any]]


def read(state: Path) -> dict[str, KeptTier]:
    """The kept templates by tier; none where an older version started the chain. Raises ChangeoverError."""
    file = state / _FILE
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["format"] > FORMAT:
            raise ValueError(f"its format is {stored['format']}, this version reads up to {FORMAT}")
        return {name: KeptTier(tier["kind"], tier["templates"]) for name, tier in stored["tiers"].items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise fail(
            f"the kept templates cannot be read: {error}",
            where=str(file),
            state="Nothing was changed; the chain goes on serving.",
            next="Restore the file, or move it away: templates then come from the chain file alone.",
        ) from error


def write(state: Path, chain: Chain, journal: Journal, targets: Mapping[str, str], *, fresh: bool) -> None:
    """Keep what is needed from now on. `targets` come from the chain, all others as they were kept before.

    `fresh`: the chain is about to start from `targets`, and nothing before it can be returned to.
    """
    before = {} if fresh else read(state)
    targets = {tier: template_of(revision) for tier, revision in targets.items()}
    tiers = {}
    for tier in chain.tiers:
        known: dict[str, Mapping[str, Any]] = dict(tier.templates)
        if (kept := before.get(tier.name)) is not None:
            known |= {name: one for name, one in kept.templates.items() if name != targets.get(tier.name)}
        names = {targets.get(tier.name, "")} | (set() if fresh else _needed(journal, tier))
        tiers[tier.name] = {
            "kind": tier.kind,
            "templates": {name: known[name] for name in sorted(filter(None, names)) if name in known},
        }
    write_whole(state / _FILE, json.dumps({"format": FORMAT, "tiers": tiers}, indent=1, default=str), mode=0o600)


def _needed(journal: Journal, tier: Tier) -> set[str]:
    names: set[str | None] = {member.template for member in journal.fleet(tier.name)}
    if (state := journal.tier(tier.name)) is not None:
        names |= {state.goal, state.previous, state.undo_to, state.retry_to}
    if (release := journal.unfinished_release()) is not None:
        names |= {release.from_templates.get(tier.name), release.to_templates.get(tier.name)}
    return {template_of(name) for name in names if name}
