"""How a chain file may differ from the chain that runs: changes that no rollout applies are named and refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from changeover.engine.journal.journal import Journal
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError, Problem, fail


def check_same_tiers(given: Chain, running: Chain) -> None:
    """Refuse other tiers than the chain was started with; templates, sizes and limits may change."""
    was, wanted = ([(t.name, t.kind) for t in chain.tiers] for chain in (running, given))
    if was != wanted:
        raise fail(
            f"the chain file has other tiers than the running chain: {_names(wanted)}; running: {_names(was)}",
            state="Nothing was changed.",
            next="Restore the tiers in the chain file, or take the chain down and up again.",
        )


def check_fixed(given: Chain, running: Chain) -> None:
    """Refuse changes of what the load balancer was configured with when the chain started. Names each of them."""
    was, wanted = _fixed(running), _fixed(given)
    changed = [key for key in wanted if wanted[key] != was[key]]
    if changed:
        raise ChangeoverError(
            *(
                Problem(
                    f"the chain file sets {key} to {wanted[key]}; the chain was started with {was[key]}",
                    state="Nothing was changed.",
                    next="Restore it in the chain file, or take the chain down and up again.",
                )
                for key in changed
            )
        )


def _fixed(chain: Chain) -> dict[str, str]:
    """What takes effect only when a chain starts: key -> value as the message shows it."""
    found = {
        "the platform": str(chain.platform),
        "listen": chain.listen,
        "trusted_peers": ", ".join(chain.trusted_peers) or "none",
    }
    for tier in chain.tiers:
        found[f"the tiers behind {tier.name}"] = ", ".join(inner.name for inner in chain.behind(tier.name)) or "none"
        found[f"the group of tier {tier.name}"] = " and ".join(tier.groups) or "none"
        found[f"the backend services of tier {tier.name}"] = ", ".join(tier.services) or "none"
        found[f"the preview of tier {tier.name}"] = tier.update.preview or "none"
        # Its other settings, such as the nodes to ask, take effect with the next command.
        found[f"the router of tier {tier.name}"] = _kind_of_router(tier)
        # Also where the tier in front balances: its instances have both in their configuration, and must agree.
        found[f"the affinity of tier {tier.name}"] = str(tier.affinity)
        found |= {f"health.{key} of tier {tier.name}": value for key, value in _health(tier)}
    return found


def _health(tier: Tier) -> Iterator[tuple[str, str]]:
    """Each key, with its value; of a header, which may hold a token, with a hash of it."""
    for key, value in tier.health:
        if key == "headers":
            hashes = {name: hashlib.sha256(text.encode()).hexdigest()[:8] for name, text in value.items()}
            value = ", ".join(f"{name} (a value with the hash {digest})" for name, digest in hashes.items())
        yield key, str(value) or "none"


def _kind_of_router(tier: Tier) -> str:
    return "none" if tier.router is None else str(tier.router.get("kind"))


def check_sizes_of_moving(given: Chain, running: Chain, journal: Journal) -> None:
    """Refuse another size for a tier whose rollout is not finished: its steps were decided for the old one."""
    for tier in given.tiers:
        if given.platform.kind != "local" and "size" not in tier.model_fields_set:
            continue  # its group has a size, and the chain file names none
        was, state = running.tier(tier.name), journal.tier(tier.name)
        if was is not None and state is not None and state.moving and was.size != tier.size:
            raise fail(
                f"the chain file sets the size of tier {tier.name} to {tier.size}; its unfinished rollout "
                f"began with {was.size}",
                state="Nothing was changed.",
                next=f"Restore `size: {was.size}` and run the command again; change the size after the rollout.",
            )


def _names(tiers: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in tiers)


def check_is_that_chain(given: Chain, file: Path, running: Chain, started_from: Path | None, state: Path) -> None:
    """Refuse the file of another chain than the one that runs in that state folder. Names every difference."""
    if given.name != running.name:
        origin = f", started from {started_from}" if started_from is not None else ""
        raise fail(
            f"{file} describes the chain {given.name}; in {state} runs the chain {running.name}{origin}",
            state="Nothing was changed.",
            next="Name another folder with --state, or take the running chain down first.",
        )
    check_same_tiers(given, running)
    check_fixed(given, running)


def not_applied(given: Chain, running: Chain) -> list[str]:
    """What the chain file has otherwise than the running chain, in words: `the size of tier runtime`."""
    was, now = running.model_dump(exclude={"tiers"}), given.model_dump(exclude={"tiers"})
    found = [f"`{key}`" for key in now if now[key] != was[key]]
    for tier in given.tiers:
        before = running.tier(tier.name)
        if before is None or before.kind != tier.kind:
            found.append(f"tier {tier.name}")
        else:
            found += [f"{what} of tier {tier.name}" for what in _differences(before, tier)]
    return found + [f"tier {tier.name}" for tier in running.tiers if given.tier(tier.name) is None]


def _differences(was: Tier, now: Tier) -> list[str]:
    before, after = was.model_dump(exclude={"templates"}), now.model_dump(exclude={"templates"})
    names = [*now.templates, *(name for name in was.templates if name not in now.templates)]
    changed = [name for name in names if _plain(was, name) != _plain(now, name)]
    return [f"the {key}" for key in after if after[key] != before[key]] + [f"template {name}" for name in changed]


def _plain(tier: Tier, template: str) -> dict[str, Any] | None:
    return dict(tier.templates[template]) if template in tier.templates else None
