"""The Kong hop: a data plane without a database. Its Admin API gets the whole configuration with every change."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from signal import SIGQUIT
from typing import TYPE_CHECKING, Any, ClassVar

from changeover.hops.kong import binary, questions
from changeover.hops.kong.admin_access import AdminAccess
from changeover.hops.kong.admin_api import AdminApi
from changeover.hops.kong.config import (
    CLEAN,
    CLIENTS,
    CONF,
    DOCUMENT,
    PASSWORD,
    RUN,
    STATUS,
    admin_address,
    clients_conf,
    kong_conf,
    run_script,
    status_conf,
)
from changeover.hops.kong.document import buffers, document, joined
from changeover.hops.kong.external import external_router
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.render import render
from changeover.hops.kong.router import KongRouter
from changeover.hops.kong.settings import KongSettings
from changeover.hops.kong.target_lists import FileTargets, KongNode
from changeover.hops.kong.timing import KongTiming
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.kit.sockets import open_connections
from changeover.model.chain import Tier
from changeover.model.hop_traits import BodyBuffer, HopTraits, KnownHops
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.readiness import Readiness
from changeover.model.software import Missing
from changeover.ports import LaunchContext, Nodes, Serving, Unknown

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectResponse
    from changeover.model.chainfile import ParsedChain

TIMING = KongTiming()


class Kong:
    """Kong as gateway: L7 proxy, and router of the tier behind it."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="kong",
        settings=KongSettings,
        takes="http",
        ready_path=questions.READY_PATH,
        # The script that stands for the instance turns QUIT into `kong quit`; on TERM it runs `kong stop`, which cuts.
        stop_signal=SIGQUIT,
        branches=True,
        routes_inward=True,
        panics=False,
        pools=True,
        # It reads no body, and sends a Host of its own beside any other.
        unchecked=frozenset({"body", "Host", "control"}),
        affinity_names=r"[A-Za-z0-9_-]+",
        passes_headers=r"[A-Za-z0-9_-]+",
        external_router=ExternalKong,
        body_buffer=lambda _, folder: BodyBuffer(folder / "client_body_temp"),  # OpenResty's default, below its prefix
    )

    def __init__(self, client: DirectClient, timing: KongTiming = TIMING) -> None:
        self._client = client
        self._timing = timing
        self._accesses: dict[str, AdminAccess] = {}
        self._targets: dict[str, FileTargets] = {}
        """Tier behind -> its targets."""
        self._pushing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._pushed: dict[str, float] = {}
        """Instance -> when it last got the whole configuration."""

    def launch(self, settings: KongSettings, context: LaunchContext) -> LaunchSpec:
        if not context.behind:
            raise ValueError(f"{context.tier.name}: a kong tier needs a tier behind it")
        kong = binary.find()
        whole = joined(
            [
                document(at.tier.name, at.tier, settings, at.traits.shared_readiness_of(at.tier), first=not number)
                for number, at in enumerate(context.behind)
            ]
        )
        return LaunchSpec(
            ("sh", RUN),
            {
                CONF: kong_conf(settings, context, as_root=os.geteuid() == 0),
                DOCUMENT: json.dumps(whole, indent=1),
                RUN: run_script(kong, context),
                STATUS: status_conf(context),
                **({} if context.trusted_peers is None else {CLIENTS: clients_conf(settings, context)}),
            },
            check=("sh", "-c", f'{CLEAN}; exec "$@"', "sh", kong, "config", "-c", CONF, "parse", DOCUMENT),
        )

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        """It is ready with all targets of the tier behind, and not before.

        The router pushes targets only to nodes that carry traffic; a node that starts gets them here, before it is
        ready. Later pushes undo what other processes changed. They cost a node nothing, and a failed one does not make
        it unready.
        """
        if why := await not_ok(self._client, f"http://{instance.control}{self.traits.ready_path}", timeout):
            return why
        now = time.monotonic()
        if self._targets and now >= self._pushed.get(instance.name, 0.0) + self._timing.push:
            try:
                for targets in self._targets.values():
                    await targets.push(self._node(instance))
            except Unknown as error:
                return "" if instance.name in self._pushed else f"it does not take its targets: {error}"
            self._pushed[instance.name] = now
        return ""

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Not ready any more. Kong closes no connection for it: they leave by keepalive_time.

        Only a reload ends the lame duck. Kong then reads its file again, which holds the last push; and it closes idle
        connections at once (nginx before 1.27.4), on which a client may be sending: they must have ended.
        """
        if on:
            answer = await self._readiness("POST", instance, {"status": "draining"})
            if answer.status_code != 204:
                raise Unknown(f"{instance.name}: POST {self.traits.ready_path} answered {answer.status_code}")
        elif "draining" in (await self._readiness("GET", instance)).text:
            if connections := open_connections(instance.address.port):
                raise Unknown(f"{instance.name} has {connections} connections, which its reload would close")
            await self._reload(instance)

    async def in_flight(self, instance: Instance) -> InFlight:
        return await questions.in_flight(self._client, instance, self._access(instance).headers())

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> KongRouter:
        def all_nodes() -> list[KongNode]:
            return [self._node(instance) for instance in nodes()]

        def hold() -> float:
            """Any node that buffers may have bodies for an instance that leaves."""
            bases = (node.base for node in all_nodes() if node.base is not None)
            return tier.drain.deadline if any(map(_buffers, bases)) else 0.0

        targets = FileTargets(tier.name, Path(membership), all_nodes, pushing=self._pushing)
        self._targets[tier.name] = targets
        return KongRouter(tier.name, targets, all_nodes, time.monotonic, self._timing, hold=hold)

    def external_router(
        self, tier: Tier, settings: ExternalKong, readiness: Readiness | None, membership: str
    ) -> KongRouter:
        return external_router(tier, settings, readiness, Path(membership), time.monotonic, self._timing)

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing()

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any]:
        return render(parsed, hops, serving)

    def _node(self, instance: Instance) -> KongNode:
        admin = AdminApi(self._access(instance), f"http://{admin_address(instance)}")
        return KongNode(instance.name, admin, Path(instance.directory) / DOCUMENT)

    def _access(self, instance: Instance) -> AdminAccess:
        """With the password of the node."""
        if (access := self._accesses.get(instance.name)) is None:
            access = AdminAccess(timeout=self._timing.answer, password_file=Path(instance.directory) / PASSWORD)
            self._accesses[instance.name] = access
        return access

    async def _reload(self, instance: Instance) -> None:
        command = ("sh", "-c", f'{CLEAN}; exec "$@"', "sh", binary.find(), "reload", "--conf", CONF)
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--prefix", instance.directory),
            cwd=instance.directory,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(self._timing.reload):
                output, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise Unknown(f"{instance.name}: kong reload did not end") from error
        if process.returncode:
            raise Unknown(f"{instance.name}: kong reload: {output.decode(errors='replace').strip()[-200:]}")

    async def _readiness(self, method: str, instance: Instance, body: Any = None) -> DirectResponse:
        headers = self._access(instance).headers()
        return await questions.status(self._client, method, instance, questions.READY_PATH, headers, body)


def _buffers(base: Path) -> bool:
    """Whether a node with this configuration buffers bodies; with one that cannot be read, it may."""
    try:
        return buffers(json.loads(base.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return True
