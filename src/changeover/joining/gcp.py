"""A chain of managed instance groups on Google Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from changeover.engine.timing import EngineTiming
from changeover.hops import registry
from changeover.joining.joined import Joined
from changeover.kit import http
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import Chain, Tier
from changeover.model.chainfile import ParsedChain
from changeover.model.gcp_rules import on_platform
from changeover.model.hop_traits import routing_tiers
from changeover.model.platform import InstanceTemplate
from changeover.model.stop import Stop
from changeover.platforms.gcp.agents import Agents
from changeover.platforms.gcp.api.calls import Calls
from changeover.platforms.gcp.api.endpoint import endpoint_of
from changeover.platforms.gcp.api.groups import Groups
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.api.operations import OperationTiming
from changeover.platforms.gcp.api.retry import RetryTiming
from changeover.platforms.gcp.api.services import Services
from changeover.platforms.gcp.api.url_maps import UrlMaps
from changeover.platforms.gcp.checkup import Checkup
from changeover.platforms.gcp.hop import AgentHop, RoutingAgentHop
from changeover.platforms.gcp.platform import GcpPlatform
from changeover.platforms.gcp.reading import Reader
from changeover.platforms.gcp.records import Records
from changeover.ports import Nodes, Router, RoutesByAgents

DELETION = "3h"
"""What Google may take to delete a VM: a drain time and a graceful shutdown of an hour each, and some more."""
UNCONFIRMED = 30.0
"""Seconds without a confirmation until the operator is warned: health checks and their spreading take a while."""
AGENTS_A_SECOND = 50
"""Serving instances that are asked in a second, at most: a question costs the controller two milliseconds of CPU."""


def join(parsed: ParsedChain, state: Path, client: DirectClient) -> Joined:
    """Asks and starts nothing. Raises ChangeoverError where the endpoint cannot be used."""
    settings, records = parsed.chain.platform, Records(state)
    chain = _with_sizes(parsed.chain, records)
    assert settings.project is not None
    calls = Calls(endpoint_of(settings), settings.impersonate, RetryTiming())
    region = settings.region or (settings.zone or "").rpartition("-")[0]
    traits = on_platform(chain, registry.known_hops())
    agents = _agents(chain)
    reader = Reader(chain, _templates(parsed), calls)
    platform = GcpPlatform(
        chain,
        _templates(parsed),
        agents,
        records,
        Groups(calls, settings, OperationTiming()),
        Services(calls, settings.project, region, OperationTiming()),
        Machines(calls, settings.project),
        UrlMaps(calls, settings.project, region, OperationTiming()),
        reader,
    )
    routing = routing_tiers(chain, traits)

    def membership_file(tier: str) -> str:
        return str(state / "members" / tier / "endpoints.json")

    def hop(tier: Tier) -> AgentHop:
        inward = {inner: Path(membership_file(inner)) for inner, outer in routing.items() if outer.name == tier.name}
        software = registry.HOPS[tier.kind](client)
        if not inward or not isinstance(software, RoutesByAgents):
            return AgentHop(traits[tier.kind], agents[tier.name])

        def route(inner: Tier, membership: str, nodes: Nodes) -> Router:
            return software.router_by_agents(inner, membership, nodes, agents[tier.name])

        return RoutingAgentHop(traits[tier.kind], agents[tier.name], inward, route)

    return Joined(
        chain=chain,
        platform=platform,
        hops={tier.name: hop(tier) for tier in chain.tiers},
        routing=routing,
        membership_file=membership_file,
        stops={
            tier.name: dict.fromkeys(tier.templates, Stop.model_validate({"grace": DELETION})) for tier in chain.tiers
        },
        timing=_timing(settings.look, sum(tier.size for tier in chain.tiers)),
        checkup=Checkup(settings.project, reader, agents, calls),
    )


def checkup(parsed: ParsedChain) -> Checkup:
    """For `doctor`. Asks nothing yet. Raises ChangeoverError where the endpoint cannot be used."""
    settings = parsed.chain.platform
    calls = Calls(endpoint_of(settings), settings.impersonate, RetryTiming())
    assert settings.project is not None
    return Checkup(settings.project, Reader(parsed.chain, _templates(parsed), calls), _agents(parsed.chain), calls)


def _agents(chain: Chain) -> dict[str, Agents]:
    client = http.client()
    return {tier.name: Agents(client, tier.agent) for tier in chain.tiers if tier.agent is not None}


def _timing(look: float, instances: int) -> EngineTiming:
    """Looks cost calls of the quota. Agents cost none: they are asked as often, but many of them more rarely."""
    return EngineTiming(
        busy_look=look,
        first_look=look,
        last_look=look,
        resting_look=max(look, EngineTiming.resting_look),
        serving_look=max(look, instances / AGENTS_A_SECOND),
        kernel_look=look / 2,
        unconfirmed_after=max(6 * look, UNCONFIRMED),
    )


def _with_sizes(chain: Chain, records: Records) -> Chain:
    """Groups have sizes; a chain file may name them, and need not."""
    known = records.tiers()

    def sized(tier: Tier) -> Tier:
        if tier.name not in known or "size" in tier.model_fields_set:
            return tier
        found = tier.model_copy(update={"size": known[tier.name].size})
        found.__pydantic_fields_set__.discard("size")  # the chain file does not name one
        return found

    return chain.model_copy(update={"tiers": tuple(map(sized, chain.tiers))})


def _templates(parsed: ParsedChain) -> Mapping[str, Mapping[str, InstanceTemplate]]:
    return {
        tier: {name: one for name, one in templates.items() if isinstance(one, InstanceTemplate)}
        for tier, templates in parsed.settings.items()
    }
