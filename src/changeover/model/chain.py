"""The chain as its author wrote it: tiers, templates, health, drain, update.

Rules within one tier are validators here; rules between tiers are in `chain_rules`. The schema of a template belongs to
the hop that runs it (`HopTraits.settings`), and `chainfile` checks all of them in one pass.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from changeover.model.affinity import Affinity
from changeover.model.config_model import REVEALED, ConfigModel, ListenAddress, Name, TemplateName, TrustedPeers
from changeover.model.guard import Guard, Prometheus, resolve
from changeover.model.health import Health
from changeover.model.hooks import Hook, Notify, PageUrl
from changeover.model.platform import AgentSettings, PlatformSettings, ResourceName, Traffic, WithGroups
from changeover.model.probe import ProbeSettings
from changeover.model.units import Seconds, resolve_count
from changeover.model.update import Update


class LongLived(ConfigModel):
    """The policy of a drain for WebSockets, server-sent events, gRPC streams and long polls."""

    policy: Literal["wait", "ask", "cut"] = Field(
        "wait",
        description="`wait`: until they end, or `drain.deadline`. `ask`: the lame duck, which asks the instance to "
        "close them, comes `after` its removal instead of before it; then as `wait`. `cut`: the instance is stopped "
        "`after` its removal, although they are open; the outcome counts them as long-lived connections, and not as "
        "lost requests.",
    )
    after: Seconds = Field(
        30.0,
        gt=0,
        description="From confirmed removal: what is still open then has been open for at least as long. With `wait` "
        "and `cut` the lame duck asks the instance to close them before its removal. With `cut`: longer than any "
        "request, and than any upload that the instance does not count itself; uploads that it counts are never cut.",
    )


class Drain(ConfigModel):
    """How long an instance that leaves may keep what it has in flight."""

    deadline: Seconds = Field(
        600.0,
        gt=0,
        description="From confirmed removal. A 50 MB upload at 1 Mb/s takes 400 s. The drain ends as soon as nothing "
        "is in flight; this is only its limit.",
    )
    policy: Literal["wait", "cut"] = Field(
        "wait",
        description="At the deadline: `wait` goes on draining and reports it; `cut` stops the instance and reports "
        "the requests that it cut.",
    )
    idle_after: Seconds = Field(
        20.0,
        gt=0,
        description="Behind a router that keeps idle connections to a removed instance (Kong): without a byte for this "
        "long, a connection whose last byte the instance sent carries no request. Longer than the longest pause inside "
        "a response; server-sent events commonly have a comment every 15 s. An instance of one process that counts "
        "its requests does not need it.",
    )
    long_lived: LongLived = Field(
        LongLived(),
        description="WebSockets, server-sent events, gRPC streams and long polls: `{policy: cut, after: 30s}`.",
    )

    @model_validator(mode="after")
    def _has_time_for_long_lived(self) -> Self:
        if self.long_lived.policy != "wait" and self.long_lived.after >= self.deadline:
            raise ValueError("long_lived.after must be shorter than deadline: it has no effect at the deadline")
        return self


class Tier(WithGroups, ConfigModel):
    """One hop of the chain: `size` identical instances made from one of the `templates`."""

    name: Name = Field(description="Its name in commands, balancers and messages, and in the names of its instances.")
    kind: str = Field(description="The software it runs.")
    size: int = Field(
        2,
        ge=1,
        le=1000,
        description="Instances serving when nothing is being rolled. On Google Cloud: by default as many as the group "
        "has.",
    )
    templates: Mapping[TemplateName, Mapping[str, Any]] = Field(
        min_length=1, repr=False, description="Immutable versions of this tier. The first one is what `up` starts."
    )
    affinity: Affinity = Field(
        "none",
        validate_default=True,
        description="What keeps a client at one instance: `none`; `client-ip`; `{cookie: NAME}`, which the balancer of "
        "the tier sets; `{header: NAME}`, which clients send. docs/affinity.md.",
    )
    health: Health = Health()
    drain: Drain = Drain()
    update: Update = Update()
    to: tuple[Name, ...] = Field(
        (),
        description="The tiers behind it, where its routes lead to several: docs/branches.md. By default the next one "
        "of the list.",
    )
    router: Mapping[str, Any] | None = Field(
        None, repr=False, description="The router of this tier, where it is not a tier of the chain: docs/kong.md."
    )
    group: ResourceName | None = Field(
        None, description="On Google Cloud: the managed instance group whose VMs are the instances of the tier."
    )
    second_group: ResourceName | None = Field(
        None,
        description="On Google Cloud: the group that takes turns with `group`, for blue-green behind backend services. "
        "One of the two has the instances, the other has none and is no backend. The VMs of a new template are created "
        "in the other one, and the switch makes it a backend.",
    )
    traffic: Traffic | None = Field(
        None,
        description="On Google Cloud: the weights of a URL map share the requests between the two groups, each behind "
        "a backend service of its own. A canary is then a share of the requests.",
    )
    backend_services: tuple[ResourceName, ...] = Field(
        (),
        description="On Google Cloud: the backend services, global or of the region, that send the group its requests. "
        "An instance is in service when it is healthy in every one of them.",
    )
    agent: AgentSettings | None = Field(
        None, description="On Google Cloud: how the agent on each VM is asked. Default: port 9180, without a token."
    )

    @property
    def first(self) -> str:
        """The template that `up` starts."""
        return next(iter(self.templates))

    @property
    def surge(self) -> int:
        """Instances allowed above `size`."""
        return resolve_count(self.update.max_surge, self.size, up=True)

    @property
    def unavailable(self) -> int:
        """Instances that may be missing from `size`."""
        return resolve_count(self.update.max_unavailable, self.size, up=False)

    @model_validator(mode="after")
    def _has_a_guard_to_analyse(self) -> Self:
        if any(step.analyse is not None for step in self.update.steps) and not self.update.guard:
            raise ValueError("an `analyse` step needs a guard: name one in update.guard")
        return self

    @model_validator(mode="after")
    def _can_move(self) -> Self:
        if self.surge == 0 and self.unavailable == 0:
            raise ValueError(
                f"max_surge and max_unavailable are both 0 instances of {self.size}: nothing could ever be replaced. "
                "Set max_surge to 1 or more"
            )
        return self


class Chain(ConfigModel):
    """The tiers a request crosses, edge first; where a tier has several behind it (`to`), a request crosses one."""

    name: Name = Field("chain", description="Its name in messages and reports.")
    platform: PlatformSettings = Field(PlatformSettings(), description="Where instances and load balancers come from.")
    listen: ListenAddress = Field(
        "127.0.0.1:0",
        description="Address of the edge, for clients. Port 0 takes any free one; `status` shows it. On Google Cloud: "
        "the address of the forwarding rule, for `status` and `probe` alone.",
    )
    trusted_peers: TrustedPeers = Field(
        (),
        description="Addresses of proxies in front of the chain. Requests from other peers lose X-Forwarded-For, "
        "Forwarded and the like at the first tier: docs/security.md.",
    )
    tiers: tuple[Tier, ...] = Field(min_length=1, description="Edge first, each tier before those behind it.")
    keep: int = Field(
        10, ge=0, description="Folders of ended instances of a tier that stay, with their logs, for an examination."
    )
    hooks: tuple[Hook, ...] = Field((), description="Commands and requests at points of a rollout: docs/hooks.md.")
    notify: tuple[Notify, ...] = Field((), description="Receivers of notifications about rollouts: docs/hooks.md.")
    page: PageUrl | None = Field(
        None, description="URL of the chain's page (`changeover serve`), for links in messages: docs/hooks.md."
    )

    def tier(self, name: str) -> Tier | None:
        """The tier of that name, or None."""
        return next((tier for tier in self.tiers if tier.name == name), None)

    def behind(self, name: str) -> tuple[Tier, ...]:
        """The tiers that `name` sends its requests to; none for a tier that answers them."""
        return tuple(tier for tier in self.tiers if self._fronts[tier.name] == name)

    def in_front(self, name: str) -> Tier | None:
        """The tier whose requests `name` gets; None for the first one."""
        front = self._fronts[name]
        return None if front is None else self.tier(front)

    def path(self, name: str) -> tuple[Tier, ...]:
        """The tiers that a request crosses before it reaches `name`, edge first."""
        front = self.in_front(name)
        return () if front is None else (*self.path(front.name), front)

    @cached_property
    def _fronts(self) -> Mapping[str, str | None]:
        """Tier -> the tier in front of it: the one whose `to` names it, else the one before it in the list."""
        named = {inner: tier.name for tier in self.tiers for inner in tier.to}
        before = [None, *(tier.name for tier in self.tiers)]
        return {tier.name: named.get(tier.name, front) for tier, front in zip(self.tiers, before, strict=False)}

    @property
    def asks_for_clients(self) -> bool:
        """Whether the first tier or one behind it needs the address of the client."""
        return bool(self.trusted_peers) or any(tier.affinity.by == "client-ip" for tier in self.tiers[1:])

    @property
    def inside_out(self) -> tuple[Tier, ...]:
        """The order in which a chain starts and rolls: a tier is ready before the tier in front of it."""
        return tuple(reversed(self.tiers))

    guards: tuple[Guard, ...] = Field((), description="Guards of this chain's own, beside the shipped ones.")
    prometheus: Prometheus | None = Field(None, description="Where conditions with `source: prometheus` are asked.")
    probe: ProbeSettings | None = Field(
        None,
        description="Requests of `changeover probe`. None: those that the example application answers.",
    )

    @model_validator(mode="after")
    def _guards_are_known(self) -> Self:
        for tier in self.tiers:
            guards = resolve(tier.update.guard, self.guards)
            asks = {condition.source for guard in guards for condition in guard.conditions}
            if "prometheus" in asks and self.prometheus is None:
                raise ValueError(f"a guard of tier {tier.name} asks Prometheus, and `prometheus` does not say where")
        return self

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        """Each tier but the first has one tier in front of it, which comes before it in the list."""
        names = [tier.name for tier in self.tiers]
        named = [inner for tier in self.tiers for inner in tier.to]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"`to` names tier {twice[0]} twice; a tier has one tier in front of it")
        for position, tier in enumerate(self.tiers):
            for inner in tier.to:
                if inner not in names:
                    raise ValueError(f"`to` of tier {tier.name} names {inner}, and there is no such tier")
                if inner not in names[position + 1 :]:
                    raise ValueError(f"tier {inner} is behind tier {tier.name} (`to`): put it below it in the list")
            following = names[position + 1] if position + 1 < len(names) else None
            if tier.to and following is not None and following not in named:
                raise ValueError(f"no tier leads to tier {following}: `to` of tier {tier.name} names others alone")
        return self

    @model_validator(mode="after")
    def _addresses_are_unique(self) -> Self:
        addresses = [self.listen, *(tier.update.preview for tier in self.tiers if tier.update.preview)]
        fixed = [address for address in addresses if not address.endswith(":0")]
        if twice := sorted({address for address in fixed if fixed.count(address) > 1}):
            raise ValueError(f"{twice[0]} is named twice, by `listen` or a `preview`; each needs one of its own")
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [tier.name for tier in self.tiers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two tiers are named {twice[0]}; each needs a name of its own")
        stems = [f"{tier.name}-{template}" for tier in self.tiers for template in tier.templates]
        if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise ValueError(f"instances of two tiers would be named {twice[0]}-1; rename a tier or a template")
        return self


def content_hash(kind: str, settings: BaseModel) -> str:
    """Identify a template: 12 hex digits over its kind and its settings, with all defaults filled in."""
    text = json.dumps([kind, settings.model_dump(mode="json", context=REVEALED)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
