"""The local platform: real processes, each with its own port, folder and log, that outlive the command that made them.

Under the state folder:  platform.json (entries, HAProxy)   instances/NAME/ (instance.json, log, config)
                         haproxy/   tls/   shared/   members/TIER/endpoints.json

An instance's folder is its record. Every record is written before another step relies on it, so a later controller
finds everything that one killed at any instant leaves.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from signal import SIGKILL, Signals
from tempfile import TemporaryDirectory

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.kit import descriptors, exits, process, sockets
from changeover.kit.files import write_whole
from changeover.model.chain import Chain, Tier
from changeover.model.connections import Connections
from changeover.model.errors import fail
from changeover.model.hop_traits import KnownHops, routing_tiers
from changeover.model.instance import PRIVATE, Address, Instance, LaunchSpec
from changeover.model.stop import StopTo
from changeover.platforms.local import haproxy, logs, orphans, tls
from changeover.platforms.local.environment import Environments
from changeover.platforms.local.launch_files import write_files
from changeover.platforms.local.listening import placed, spawn
from changeover.platforms.local.output import check_now, tail_of, words_of
from changeover.platforms.local.peers import Peers, at_socket
from changeover.platforms.local.state_files import (
    BalancerRecord,
    InstanceRecords,
    read_balancer,
    write_balancer,
    write_instance,
)
from changeover.platforms.local.timing import TIMING, LocalTiming
from changeover.ports import InnerTier, LaunchContext, Preview, Router, Unknown

_HOST = "127.0.0.1"
RECORD = "platform.json"

Launch = Callable[[LaunchContext], LaunchSpec]
"""What to run for an instance in that context."""


class LocalPlatform:
    """One chain on this machine. `external`: addresses of tiers that a router outside of the chain balances over."""

    def __init__(
        self,
        chain: Chain,
        state: Path,
        hops: KnownHops,
        launch: Launch,
        external: Mapping[str, Address],
        timing: LocalTiming = TIMING,
    ) -> None:
        self._chain = chain
        self._state = state
        self._hops = hops
        self.launch = launch
        self._external = external
        self._routed = routing_tiers(chain, hops)
        """Tiers that the hop in front balances over. They get no listener of their own."""
        self._timing = timing
        self.environments = Environments(state)
        self._api = RuntimeApi(str(state / "haproxy" / haproxy.SOCKET), timing.runtime_api)
        self._peers = Peers()
        self._records = InstanceRecords(state / "instances")
        self._routers: dict[str, tuple[float, set[int]]] = {}
        """Tier -> when its router processes were looked up, and which they are."""
        self._reserved: set[int] = set()
        self._creating: set[str] = set()

    # -- load balancer and folders -----------------------------------------------------------------------------

    async def open(self, *, fresh: bool) -> None:
        record = self._record()
        if record is not None and process.is_alive(record.pid, record.born):
            return
        self._state.mkdir(parents=True, exist_ok=True)
        if fresh:
            shutil.rmtree(self._state / "instances", ignore_errors=True)
        for name in ("instances", "shared", "members", "haproxy"):
            (self._state / name).mkdir(exist_ok=True)
        self._state.chmod(0o700)
        tls.ensure(self._state / "tls")
        # A HAProxy that was started and not yet recorded holds the same ports, without members.
        process.kill_all_of(self._state / "haproxy")
        entries = self._entries({} if record is None else record.entries, fresh=fresh)
        most = haproxy.most_connections(self._chain, descriptors.hard_limit())
        asked = {tier.name: self._hops[tier.kind].readiness_of(tier) for tier in self._chain.tiers}
        folder = self._state / "haproxy"
        write_whole(folder / "haproxy.cfg", haproxy.config(self._chain, entries, asked, most))
        command = (haproxy.binary(), "-f", "haproxy.cfg", "-db")
        env = self.environments.base()
        checking = LaunchSpec(command, check=(*command, "-c"))
        await asyncio.to_thread(check_now, checking, folder, env, self._timing.check)
        pid, born = process.spawn(command, home=folder, env=env)
        write_balancer(self._state / RECORD, BalancerRecord(pid, born, entries, whole=fresh))
        await self._wait_for_haproxy(pid, born, folder / "log")

    def mark_whole(self) -> None:
        if (record := self._record()) is not None:
            write_balancer(self._state / RECORD, replace(record, whole=True))

    def _entries(self, before: Mapping[str, Address], *, fresh: bool) -> dict[str, Address]:
        """The address of each listener. Known ones stay: the tier in front has them in its configuration."""
        entries: dict[str, Address] = {}
        for name, wanted in self._listeners():
            known = before.get(name)
            if wanted.port:
                if (why := sockets.cannot_listen(wanted.host, wanted.port)) is not None:
                    raise fail(
                        f"nothing can listen on {wanted}: {why}",
                        where="preview" if name.endswith(haproxy.preview_of("")) else "listen",
                        state="Nothing was started.",
                        next="Free it, or name another address; port 0 takes any free one.",
                    )
                entries[name] = wanted
            elif known is not None and (not fresh or sockets.can_listen(known.host, known.port)):
                entries[name] = known
            else:
                taken = {address.port for address in entries.values()}
                entries[name] = Address(wanted.host, sockets.free_port(wanted.host, taken))
        return entries

    def _listeners(self) -> Iterator[tuple[str, Address]]:
        """Every address that HAProxy listens on; port 0 where any free one will do."""
        for number, tier in enumerate(self._chain.tiers):
            if tier.name not in self._routed and tier.name not in self._external:
                yield tier.name, Address.parse(self._chain.listen) if number == 0 else Address(_HOST, 0)
            if tier.update.preview is not None:
                yield haproxy.preview_of(tier.name), Address.parse(tier.update.preview)

    async def _wait_for_haproxy(self, pid: int, born: int, log: Path) -> None:
        deadline = time.monotonic() + self._timing.balancer_start
        while True:
            if not process.is_alive(pid, born):
                raise fail("HAProxy did not start", where=str(log), state=tail_of(log))
            try:
                await self._api.ask("show info")
                return
            except Unknown as error:
                if time.monotonic() > deadline:
                    raise fail(f"HAProxy started, but does not answer: {error}", where=str(log)) from error
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        record = self._record()
        if record is not None:
            process.kill_session(record.pid, record.born, self._state / "haproxy")
        process.kill_all_of(self._state / "haproxy")
        for folder in (self._state / "instances").glob("*"):
            if (instance := self.recorded(folder.name)) is not None:
                await self.kill(instance)
        # A controller killed before it recorded an instance leaves its processes; so does a folder that was deleted.
        await orphans.end([one for one in orphans.find(self._state) if one.name != "keeper"])
        # The logs of the last run stay until the next one begins; uploads, certificates and entries stay for good.
        for leftover in (
            *(self._state / "instances").glob("*/instance.json"),
            self._state / "haproxy" / haproxy.SOCKET,
        ):
            leftover.unlink(missing_ok=True)
        for folder in (self._state / "members").glob("*"):
            if folder.name not in self._external:  # a router that outlives the chain may still have these members
                shutil.rmtree(folder, ignore_errors=True)

    async def most_connections(self) -> int:
        """Connections that the load balancer can hold at once, over all tiers. Raises Unknown."""
        answer = await self._api.ask("show info")
        found = re.search(r"^Maxconn: (\d+)$", answer, re.MULTILINE)
        if found is None:
            raise Unknown(f"HAProxy answered `show info` with {answer[:80]!r}")
        return int(found[1])

    def is_open(self) -> bool:
        """Whether the load balancer runs, with the members it is to have."""
        record = self._record()
        return record is not None and process.is_alive(record.pid, record.born) and record.whole

    def entry(self, tier: str) -> Address:
        if tier in self._external:
            return self._external[tier]
        record = self._record()
        if record is None or tier not in record.entries:
            raise fail(f"tier {tier} has no entry: the chain is not up", next="changeover up")
        return record.entries[tier]

    @property
    def ca_file(self) -> Path:
        """The certificate authority that clients of the edge are to trust."""
        return self._state / "tls" / "ca.pem"

    def membership_file(self, tier: str) -> Path:
        """Where the hop in front of `tier` reads its members; alone in its folder, since that folder is watched."""
        return self._state / "members" / tier / "endpoints.json"

    def preview_entry(self, tier: str) -> Address | None:
        """Where a tier's new colour is reached before the switch, if it is anywhere."""
        record = self._record()
        return None if record is None else record.entries.get(haproxy.preview_of(tier))

    def preview(self, tier: Tier) -> Preview | None:
        return None if tier.update.preview is None else haproxy.HaproxyPreview(self._api, tier)

    def router(self, tier: Tier) -> Router:
        return haproxy.HaproxyRouter(self._api, tier, tier.name)

    def _record(self) -> BalancerRecord | None:
        return read_balancer(self._state / RECORD)

    # -- instances -----------------------------------------------------------------------------------------------

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        folder = self._state / "instances" / name
        if (known := self.recorded(name)) is not None:
            return known
        if folder.exists():  # a controller that was killed before it recorded the instance leaves its processes
            process.kill_all_of(folder)
        self._creating.add(name)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # for workers of another account; other processes of theirs cannot enter the state folder
        logs.prune(folder.parent, tier.name, self._chain.keep, self._creating)
        address = control = Address(_HOST, self._reserve_port())
        if self._hops[tier.kind].own_control:
            control = Address(_HOST, self._reserve_port())
        proxied = self._is_proxied(tier)
        instance = Instance(
            name,
            tier.name,
            template,
            address,
            control,
            directory=str(folder),
            proxied=proxied,
            readiness=self._hops[tier.kind].readiness_of(tier),
        )
        try:
            return await self.start(instance, tier)
        finally:
            self._creating.discard(name)

    def _is_proxied(self, tier: Tier) -> bool:
        return self._chain.asks_for_clients and tier.name == self._chain.tiers[0].name

    async def start(self, instance: Instance, tier: Tier) -> Instance:
        """Run an instance that has a place but no process, and record it. Raises CannotStart."""
        folder = Path(instance.directory)
        launch = self.launch(self._context(tier, instance))
        write_files(launch, folder)
        if launch.check:
            await asyncio.to_thread(check_now, launch, folder, self.environments.base(), self._timing.check)
        env = await asyncio.to_thread(self.environments.of, launch, instance.tier, instance.template)
        instance = placed(instance, launch)
        pid, born = spawn(instance, launch, env)
        running = replace(instance, pid=pid, born=born)
        write_instance(folder / "instance.json", running)
        return running

    def check(self, tier: Tier, template: str) -> None:
        """Have the software check a template before an instance is launched from it. Raises CannotStart."""
        with TemporaryDirectory() as folder:
            launch = self.launch(self.stand_in(tier, template, Path(folder), self.certificates(Path(folder))))
            write_files(launch, Path(folder))
            if launch.check:
                check_now(launch, Path(folder), self.environments.base(), self._timing.check)

    def certificates(self, folder: Path) -> Path:
        """The folder with the certificates of this chain, or with others, in `folder`, where it was never up."""
        known = self._state / "tls"
        return known if (known / "ca.pem").exists() else tls.ensure(folder / "tls").parent

    def stand_in(self, tier: Tier, template: str, folder: Path, certificates: Path) -> LaunchContext:
        """The place of an instance that nothing launches, in `folder`, also while the chain is down."""
        address = Address(_HOST, sockets.free_port(_HOST, set()))
        control = Address(_HOST, sockets.free_port(_HOST, {address.port}))
        proxied = self._is_proxied(tier)
        name = f"{tier.name}-{template}-0"
        instance = Instance(name, tier.name, template, address, control, directory=str(folder), proxied=proxied)
        return replace(self._context(tier, instance, Address(_HOST, 1)), tls=str(certificates))

    def recorded(self, name: str) -> Instance | None:
        """The record of an instance, running or not."""
        return self._records.read(name)

    def _context(self, tier: Tier, instance: Instance, behind: Address | None = None) -> LaunchContext:
        """`behind`: an address for the tier behind while it has no entry."""
        return LaunchContext(
            instance=instance,
            tier=tier,
            outermost=tier.name == self._chain.tiers[0].name,
            shared=str(self._state / "shared"),
            lame_duck=str(Path(instance.directory) / "lame-duck"),
            tls=str(self._state / "tls"),
            behind=tuple(self._inner_tier(inner, behind) for inner in self._chain.behind(tier.name)),
            folder=self.environments.folder(tier.name, instance.template),
            hidden_paths=self._control_paths() if self._meets_clients(tier) else (),
            trusted_peers=self._chain.trusted_peers if self._meets_clients(tier) else None,
        )

    def _control_paths(self) -> tuple[str, ...]:
        paths = {path for tier in self._chain.tiers for path in self._hops[tier.kind].control_paths}
        return tuple(sorted(paths))

    def _meets_clients(self, tier: Tier) -> bool:
        """Whether no tier in front of it reads requests."""
        return all(self._hops[one.kind].takes == "bytes" for one in self._chain.path(tier.name))

    def _inner_tier(self, tier: Tier, entry: Address | None) -> InnerTier:
        address = None if tier.name in self._routed else entry or self.entry(tier.name)
        return InnerTier(tier, self._hops[tier.kind], address, str(self.membership_file(tier.name)))

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        found = {one.name: self._ended(one, stopped=one.name in stopped) for one in instances}
        return {name: why for name, why in found.items() if why is not None}

    async def until_exit(self, instances: Collection[Instance], seconds: float) -> None:
        known = [(one.pid, one.born) for one in instances if one.pid is not None and one.born is not None]
        await exits.until_one(known, seconds)

    def _ended(self, instance: Instance, *, stopped: bool) -> str | None:
        if instance.pid is None or instance.born is None:
            return "it was never started"
        if process.is_alive(instance.pid, instance.born):
            return None
        if stopped and process.session_alive(instance.pid, instance.born, Path(instance.directory)):
            return None  # a shell ends on the signal at once, before the server that it started
        folder = Path(instance.directory)
        words = words_of(folder / "log", self.environments.hide)
        if not stopped and (left := list(process.members_of(folder))):
            names = ", ".join(f"{process.command_line(pid)} (pid {pid})" for pid in left[:3])
            return (
                f"its first process ended, while {len(left)} that it started went on: {names}. Run the server in the "
                f"foreground: neither as a daemon nor behind a command that ends; {words}"
            )
        return words

    def with_log(self, instance: Instance, what: str) -> str:
        hide = self.environments.hide
        return f"{hide(what)}; {words_of(Path(instance.directory) / 'log', hide)}"

    async def connections(self, instance: Instance) -> Connections | None:
        if instance.socket:
            return at_socket(instance.socket) if instance.tier in self._routed else None
        return self._peers.of(instance, self._routers_of(instance.tier))

    def _routers_of(self, tier: str) -> set[int] | None:
        """Leaders of the processes that route a tier; None where one of them is not of this chain."""
        if tier in self._external:
            return None
        at, found = self._routers.get(tier, (-inf, set()))
        if (now := time.monotonic()) - at < self._timing.routers:
            return found
        record = self._record()
        found = set() if record is None else {record.pid}
        if (outer := self._routed.get(tier)) is not None:
            nodes = self._records.all(f"{outer.name}-")
            found |= {node.pid for node in nodes if node.tier == outer.name and node.pid is not None}
        self._routers[tier] = now, found
        return found

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        file = Path(instance.directory) / "lame-duck"
        try:
            file.touch() if on else file.unlink(missing_ok=True)
        except OSError as error:
            raise Unknown(f"{file}: {error.strerror}") from error

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        if instance.pid is None or instance.born is None:
            return
        if signal is SIGKILL:
            await self.kill(instance)
        elif to == "group" or not process.send(instance.pid, instance.born, signal):
            # To the leader alone where the software asks for that; a dead leader passes it on to no process.
            process.send_session(instance.pid, instance.born, signal, Path(instance.directory))

    async def kill(self, instance: Instance) -> None:
        if instance.pid is not None and instance.born is not None:
            process.kill_session(instance.pid, instance.born, Path(instance.directory))
        shutil.rmtree(Path(instance.directory) / PRIVATE, ignore_errors=True)
        (Path(instance.directory) / "instance.json").unlink(missing_ok=True)
        self._reserved -= {instance.address.port, instance.control.port}

    def _reserve_port(self) -> int:
        """A free port that no instance has, also not one that is being created or is down for the moment."""
        port = sockets.free_port(_HOST, self._reserved | self._taken())
        self._reserved.add(port)
        return port

    def _taken(self) -> set[int]:
        return {port for one in self._records.all() for port in (one.address.port, one.control.port)}
