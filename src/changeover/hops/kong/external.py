"""A Kong that stands outside of the chain, as the router of a tier: `router:` in a chain file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from changeover.hops.kong.access import Access
from changeover.hops.kong.admin import Admin
from changeover.hops.kong.document import Member, upstream
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.members import InDatabase, InFile, Members, Node
from changeover.hops.kong.router import KongRouter
from changeover.model.chain import Tier
from changeover.ports import Unknown


def external_router(
    tier: Tier, said: ExternalKong, ready_path: str | None, file: Path, now: Callable[[], float]
) -> KongRouter:
    """The router that `said` describes, with its member list in `file` if it has no database of its own."""
    outside = _ExternalKongMembers(tier, said, ready_path, file)
    return KongRouter(outside.upstream, outside, outside.nodes, now, spread=outside.spread, held=outside.held)


class _ExternalKongMembers:
    """The members of a Kong that tells itself whether it has a database."""

    def __init__(self, tier: Tier, said: ExternalKong, ready_path: str | None, file: Path) -> None:
        self.upstream = said.upstream or tier.name
        self._tier = tier
        self._said = said
        self._ready_path = ready_path
        self._file = file
        access = Access(said.token_env or "", said.token_header, said.ca or "", said.certificate or "", said.key or "")
        base = Path(said.document) if said.document else None
        self._nodes = tuple(Node(url, Admin(access, url), base) for url in said.admin)
        self._kept: Members | None = None

    def nodes(self) -> Sequence[Node]:
        return self._nodes

    def spread(self) -> float:
        return 0.0 if isinstance(self._kept, InFile) else self._said.spread

    def held(self) -> float:
        return self._tier.drain.deadline if self._said.request_buffering else 0.0

    async def open(self) -> None:
        await (await self._members()).open()

    async def all(self) -> Mapping[str, Member]:
        return await (await self._members()).all()

    async def put(self, name: str, member: Member) -> None:
        await (await self._members()).put(name, member)

    async def drop(self, name: str) -> None:
        await (await self._members()).drop(name)

    async def _members(self) -> Members:
        if self._kept is None:
            self._kept = await self._find()
        return self._kept

    async def _find(self) -> Members:
        failures = []
        for node in self._nodes:
            try:
                has_database = await node.admin.has_database()
                break
            except Unknown as error:
                failures.append(str(error))
        else:
            raise Unknown("; ".join(failures))
        if has_database:
            return InDatabase(upstream(self.upstream, self._tier, self._ready_path), self._tier.name, self.nodes)
        if self._said.document is None:
            raise Unknown(
                f"{node.name} has no database, so each change replaces all that it is configured with: name the file "
                f"that this comes from, as `document` in the router of {self._tier.name}"
            )
        return InFile(self.upstream, self._file, self.nodes, keep_base=False)
