"""A Kong that stands outside of the chain, as the router of a tier: `router:` in a chain file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from changeover.hops.kong.admin_access import AdminAccess
from changeover.hops.kong.admin_api import AdminApi
from changeover.hops.kong.document import KongTarget, upstream
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.router import KongRouter
from changeover.hops.kong.target_lists import DatabaseTargets, FileTargets, KongNode, TargetList
from changeover.hops.kong.timing import KongTiming
from changeover.model.chain import Tier
from changeover.model.instance import Address
from changeover.model.readiness import Readiness
from changeover.ports import Unknown


def external_router(
    tier: Tier,
    settings: ExternalKong,
    readiness: Readiness | None,
    file: Path,
    now: Callable[[], float],
    timing: KongTiming,
) -> KongRouter:
    """The router that `settings` describe, with its target list in `file` if it has no database."""
    targets = _ExternalTargets(tier, settings, readiness, file, timing.answer)
    return KongRouter(
        targets.upstream, targets, targets.nodes, now, timing, propagation=targets.propagation, hold=targets.hold
    )


class _ExternalTargets:
    """The targets of a Kong that reports itself whether it has a database."""

    def __init__(
        self, tier: Tier, settings: ExternalKong, readiness: Readiness | None, file: Path, timeout: float
    ) -> None:
        self.upstream = settings.upstream or tier.name
        self._tier = tier
        self._settings = settings
        self._readiness = readiness
        self._file = file
        access = AdminAccess(
            settings.token_env or "",
            settings.token_header,
            settings.ca or "",
            settings.certificate or "",
            settings.key or "",
            timeout,
        )
        base = Path(settings.document) if settings.document else None
        self._nodes = tuple(KongNode(url, AdminApi(access, url), base) for url in settings.admin)
        self._found: TargetList | None = None

    def nodes(self) -> Sequence[KongNode]:
        return self._nodes

    def propagation(self) -> float:
        return 0.0 if isinstance(self._found, FileTargets) else self._settings.propagation_seconds

    def hold(self) -> float:
        return self._tier.drain.deadline if self._settings.request_buffering else 0.0

    async def open(self, keep: Mapping[str, Address]) -> None:
        await (await self._list()).open(keep)

    async def all(self) -> Mapping[str, KongTarget]:
        return await (await self._list()).all()

    async def put(self, name: str, target: KongTarget) -> None:
        await (await self._list()).put(name, target)

    async def drop(self, name: str) -> None:
        await (await self._list()).drop(name)

    async def _list(self) -> TargetList:
        if self._found is None:
            self._found = await self._find()
        return self._found

    async def _find(self) -> TargetList:
        failures = []
        for node in self._nodes:
            try:
                has_database = await node.admin.has_database()
                break
            except Unknown as error:
                failures.append(str(error))
        else:
            raise Unknown("; ".join(failures))
        owned = upstream(self.upstream, self._tier, self._readiness)
        if has_database:
            return DatabaseTargets(owned, self._tier.name, self.nodes)
        if self._settings.document is None:
            raise Unknown(
                f"{node.name} has no database, so each change replaces its whole configuration: name the file that "
                f"holds it as `document`, in the router of {self._tier.name}"
            )
        return FileTargets(self.upstream, self._file, self.nodes, owned=owned)
