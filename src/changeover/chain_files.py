"""A chain file as a chain runs from it: with the files that its templates name, and with the templates that are kept.

Refuses a chain file that is not right, and a kept template that this version does not understand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import BaseModel, ValidationError

from changeover.engine.release import kept_templates
from changeover.engine.release.kept_templates import KeptTier
from changeover.hops import registry
from changeover.model import chainfile
from changeover.model.chain import Chain, Tier, content_hash
from changeover.model.chainfile import ParsedChain
from changeover.model.config_model import STORED
from changeover.model.errors import ChangeoverError, fail
from changeover.model.gcp_rules import on_platform
from changeover.ports import TakesConfiguration

COPY = "chain.yaml"
"""The copy, in the state folder, of the chain file that the running instances were made from."""


def read_chain(file: Path, *, stored: bool = False) -> tuple[ParsedChain, str]:
    """A chain file, checked, and its text, both with the files that its templates name. Raises ChangeoverError.

    The copy in a state folder may be of an earlier version: rules that came later do not hold for it.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the chain file cannot be read: {reason}", where=str(file), next="Name one with -f.") from error
    parsed = _parse(text, str(file), stored)
    return _with_files(parsed, text, file) if parsed.chain.platform.kind == "local" else (parsed, text)


@lru_cache(maxsize=16)
def _parse(text: str, file: str, stored: bool) -> ParsedChain:
    """The page of `serve` reads the same file each second, and a long one takes 50 ms."""
    return chainfile.read(text, file, registry.known_hops(), stored=stored)


def _with_files(parsed: ParsedChain, text: str, file: Path) -> tuple[ParsedChain, str]:
    """Templates are immutable, so a copy of the chain file must not depend on other files that change."""
    chain, document = parsed.chain, None
    tiers, settings = list(chain.tiers), {name: dict(templates) for name, templates in parsed.settings.items()}
    for position, tier in enumerate(chain.tiers):
        if not issubclass(hop := registry.HOPS[tier.kind], TakesConfiguration):
            continue
        for name, template in parsed.settings[tier.name].items():
            try:
                whole = hop.with_files(template, tier, chain, file.resolve().parent)
            except ChangeoverError as error:
                where = f"{file}: template {name} of tier {tier.name}"
                raise ChangeoverError(*(replace(one, where=one.where or where) for one in error.problems)) from error
            if whole is not template:
                document = document or yaml.safe_load(text)
                stored = whole.model_dump(mode="json", exclude_unset=True)
                document["tiers"][position]["templates"][name] = stored
                templates = {**tiers[position].templates, name: stored}
                tiers[position] = tiers[position].model_copy(update={"templates": templates})
                settings[tier.name][name] = whole
    first = chain.tiers[0]
    if issubclass(hop := registry.HOPS[first.kind], TakesConfiguration):
        taken = {name: hop.takes(template) for name, template in settings[first.name].items()}
        if len(set(taken.values())) > 1:
            raise fail(
                f"clients send the templates of tier {first.name} different things: "
                + ", ".join(f"{name} takes {what}" for name, what in taken.items()),
                where=str(file),
                next="A chain has one URL: let all take TLS, or none.",
            )
    if document is None:
        return parsed, text
    whole_chain = chain.model_copy(update={"tiers": tuple(tiers)})
    return replace(parsed, chain=whole_chain, settings=settings), yaml.safe_dump(document, sort_keys=False)


def hashes_of(parsed: ParsedChain) -> dict[str, dict[str, str]]:
    """Tier -> template -> content hash."""
    return {
        tier.name: {name: content_hash(tier.kind, template) for name, template in parsed.settings[tier.name].items()}
        for tier in parsed.chain.tiers
    }


def hashes_in_use(state: Path) -> dict[str, dict[str, str]]:
    """The same of the templates that the instances were made from, and of those that a rollout can return to."""
    copy, kept = read_chain(state / COPY, stored=True)[0], kept_templates.read(state)
    found = hashes_of(copy)
    for tier in copy.chain.tiers:
        found[tier.name] |= {
            name: content_hash(tier.kind, template) for name, template in _kept_settings(copy.chain, tier, kept).items()
        }
    return found


def with_kept(parsed: ParsedChain, kept: Mapping[str, KeptTier]) -> ParsedChain:
    """The chain with the kept templates that its file no longer has, behind its own."""
    tiers, settings = [], {}
    for tier in parsed.chain.tiers:
        lost = {k: v for k, v in _kept_settings(parsed.chain, tier, kept).items() if k not in tier.templates}
        templates = {**tier.templates, **{name: kept[tier.name].templates[name] for name in lost}}
        tiers.append(tier.model_copy(update={"templates": templates}))
        settings[tier.name] = {**parsed.settings[tier.name], **lost}
    return replace(parsed, chain=parsed.chain.model_copy(update={"tiers": tuple(tiers)}), settings=settings)


def _kept_settings(chain: Chain, tier: Tier, kept: Mapping[str, KeptTier]) -> dict[str, BaseModel]:
    """The kept templates of a tier, as its hop understands them. Raises ChangeoverError."""
    found = kept.get(tier.name)
    if found is None or found.kind != tier.kind:
        return {}
    schema = on_platform(chain, registry.known_hops())[tier.kind].settings
    try:
        return {name: schema.model_validate(template, context=STORED) for name, template in found.templates.items()}
    except ValidationError as error:
        raise fail(
            f"a kept template of tier {tier.name} is not one that this version of changeover accepts",
            state="Nothing was changed; the chain goes on serving.",
            next="Use the version of changeover that started the chain.",
        ) from error
