"""A chain of processes on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from changeover.engine.timing import EngineTiming
from changeover.hops import registry
from changeover.joining.joined import Joined
from changeover.kit.direct_http import DirectClient
from changeover.model.chainfile import ParsedChain
from changeover.model.hop_traits import routing_tiers
from changeover.model.instance import Address, LaunchSpec
from changeover.model.stop import Stop, TemplateSettings
from changeover.platforms.local.platform import LocalPlatform
from changeover.ports import LaunchContext, LearnsTemplates


def join(parsed: ParsedChain, state: Path, client: DirectClient) -> Joined:
    """Starts nothing."""
    chain, settings = parsed.chain, parsed.settings
    hops = {tier.name: registry.HOPS[tier.kind](client) for tier in chain.tiers}
    for tier, hop in hops.items():
        if isinstance(hop, LearnsTemplates):
            hop.learn(settings[tier])

    def launch(context: LaunchContext) -> LaunchSpec:
        instance = context.instance
        return hops[instance.tier].launch(settings[instance.tier][instance.template], context)

    external = {tier: Address.parse(router.proxy) for tier, router in parsed.routers.items()}
    platform = LocalPlatform(chain, state, registry.known_hops(), launch, external)
    platform.environments.know(template for templates in settings.values() for template in templates.values())
    return Joined(
        chain=chain,
        platform=platform,
        hops=hops,
        routing=routing_tiers(chain, registry.known_hops()),
        membership_file=lambda tier: str(platform.membership_file(tier)),
        stops={tier: _stops(templates) for tier, templates in settings.items()},
        timing=EngineTiming(),
        local=platform,
    )


def _stops(templates: Mapping[str, Any]) -> dict[str, Stop]:
    return {
        name: template.stop
        for name, template in templates.items()
        if isinstance(template, TemplateSettings) and template.stop is not None
    }
