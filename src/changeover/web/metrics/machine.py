"""What the instances of a chain on this machine use: CPU, memory, descriptors, and the disks on which bodies wait.

Read from /proc and from folders when Prometheus asks, at most once a second: it costs a rollout nothing. Refuses
instances of other machines and of another PID namespace: their values are absent.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from changeover.engine.journal.reading import JournalReader
from changeover.hops.registry import HOPS
from changeover.kit import process
from changeover.kit.usage import ProcessUsage, unnamed_files, usage_of
from changeover.model.chain import Tier
from changeover.model.chainfile import ParsedChain
from changeover.model.errors import ChangeoverError
from changeover.model.hop_traits import BodyBuffer
from changeover.model.revision import template_of
from changeover.platforms.local.state_files import read_instance
from changeover.web.metrics.samples import Samples

Version = tuple[str, str]
"""A tier and a template of it."""
Sessions = Mapping[int, Sequence[ProcessUsage]]
"""The first process of an instance -> all that it started, itself too."""


@dataclass(frozen=True)
class _Running:
    """One instance with a process."""

    version: Version
    pid: int
    born: int
    buffer: BodyBuffer | None


class Machine:
    """The instances of one chain, as they were seen. CPU is counted from the first look on."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}
        self._cpu: dict[Version, float] = defaultdict(float)
        self._before: dict[tuple[int, int], float] = {}
        """CPU of each process at the last look."""

    def take(self, out: Samples, chain: str, journal: JournalReader, parsed: ParsedChain) -> None:
        """Add the values. `chain`: its label."""
        if parsed.chain.platform.kind != "local" or not journal.sees_processes():
            return
        self._running = dict(self._look(journal, parsed))
        sessions: dict[int, list[ProcessUsage]] = defaultdict(list)
        for used in usage_of({one.pid for one in self._running.values()}):
            sessions[used.session].append(used)
        self._take_processes(out, chain, parsed, sessions)
        for tier in parsed.chain.tiers:
            self._take_bodies(out, chain, tier, sessions)

    def _look(self, journal: JournalReader, parsed: ParsedChain) -> Iterator[tuple[str, _Running]]:
        """The instances that run. A record that is known is not read again."""
        for tier in parsed.chain.tiers:
            for member in journal.fleet(tier.name):
                one = self._running.get(member.name) or _read(journal.folder, member.name, tier, parsed)
                if one is not None and process.start_time(one.pid) == one.born:
                    yield member.name, one

    def _take_processes(self, out: Samples, chain: str, parsed: ParsedChain, sessions: Sessions) -> None:
        found: dict[Version, list[ProcessUsage]] = defaultdict(list)
        before, self._before = self._before, {}
        for one in self._running.values():
            for used in sessions.get(one.pid, ()):
                key = used.pid, used.born
                found[one.version].append(used)
                self._before[key] = used.cpu
                self._cpu[one.version] += max(0.0, used.cpu - before.get(key, 0.0))
        for version, seconds in sorted(self._cpu.items()):
            if version not in found and version[1] not in parsed.settings.get(version[0], {}):
                del self._cpu[version]  # a template of the past: the labels stay few
            else:
                out.add("instance_cpu_seconds_total", seconds, chain, *version)
        shares: dict[str, list[float]] = defaultdict(list)
        for version, all_used in sorted(found.items()):
            out.add("instance_resident_bytes", sum(one.resident for one in all_used), chain, *version)
            descriptors = [one.descriptors for one in all_used if one.descriptors is not None]
            if len(descriptors) == len(all_used):
                out.add("instance_open_descriptors", sum(descriptors), chain, *version)
            shares[version[0]] += [one.descriptors / one.limit for one in all_used if one.descriptors and one.limit]
        for tier, of_limit in shares.items():
            out.add("tier_descriptors_ratio", max(of_limit, default=None), chain, tier)

    def _take_bodies(self, out: Samples, chain: str, tier: Tier, sessions: Sessions) -> None:
        buffering = [
            (one.buffer, sessions.get(one.pid, ()))
            for one in self._running.values()
            if one.version[0] == tier.name and one.buffer is not None
        ]
        disks = {found.f_fsid: found for buffer, _ in buffering if (found := _disk(buffer.folder)) is not None}
        if disks:
            fullest = min(disks.values(), key=lambda disk: disk.f_bavail / disk.f_blocks)
            out.add("body_disk_free_bytes", fullest.f_bavail * fullest.f_frsize, chain, tier.name)
            out.add("body_disk_size_bytes", fullest.f_blocks * fullest.f_frsize, chain, tier.name)
        held = [(buffer, _held(buffer.folder, processes)) for buffer, processes in buffering]
        sizes = [size for _, size in held if size is not None]
        if sizes and len(sizes) == len(held):
            shares = [size / buffer.limit for (buffer, _), size in zip(held, sizes, strict=True) if buffer.limit]
            out.add("buffered_body_bytes", sum(sizes), chain, tier.name)
            out.add("buffered_body_ratio", max(shares, default=None), chain, tier.name)


def _read(state: Path, name: str, tier: Tier, parsed: ParsedChain) -> _Running | None:
    folder = (state / "instances" / name).resolve()  # as /proc names it
    try:
        instance = read_instance(folder / "instance.json")
        if instance is None or instance.pid is None or instance.born is None:
            return None
        template = template_of(instance.template)
        settings = parsed.settings[tier.name].get(template)
        buffer = None if settings is None else HOPS[tier.kind].traits.body_buffer(settings, folder)
    except (ChangeoverError, OSError):
        return None  # the command that acts on it says what is wrong
    return _Running((tier.name, template), instance.pid, instance.born, buffer)


def _disk(folder: Path) -> os.statvfs_result | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None  # not there yet
    return found if found.f_blocks else None


def _held(folder: Path, processes: Sequence[ProcessUsage]) -> int | None:
    """Bytes of the bodies that these processes keep there, in files that they deleted at once; None: unknown."""
    files: dict[tuple[int, int], int] = {}
    for one in processes:
        try:
            files |= unnamed_files(one.pid, str(folder))
        except PermissionError:
            return None
        except OSError:
            continue  # it has ended
    return sum(files.values())
