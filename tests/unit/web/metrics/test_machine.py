"""What instances use of this machine, over real processes and folders: absent where it is not known."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain, standing_chain
from tests.unit.web.metrics.test_collector import Seen, member

from changeover.engine.journal.records import LogLine
from changeover.hops.registry import HOPS
from changeover.kit import process
from changeover.model.hop_traits import BodyBuffer
from changeover.model.instance import Address, Instance
from changeover.platforms.local.state_files import write_instance
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import TierState
from changeover.web.metrics import machine
from changeover.web.metrics.collector import MetricsText

CHAIN = """
name: pair
listen: 127.0.0.1:8080
tiers:
  - name: edge
    kind: nginx
    size: 1
    templates:
      v1: {tls: false, routes: [{path: /, to: runtime, buffering: buffer, max_body: 100kB, disk: 1MB}]}
  - name: runtime
    kind: app
    size: 2
    templates: {v1: {}, v2: {}}
"""
EDGE, RUNTIME = ("pair", "edge"), ("pair", "runtime")
BUSY = """
import os, sys, time
spent = time.process_time() + 0.2
while time.process_time() < spent: pass
held = [open(os.devnull) for _ in range(20)]
print(flush=True)
for size in sys.stdin:
    body = open("tmp-client_body/1", "wb+")  # as nginx does: it deletes the file as soon as it is open
    os.unlink("tmp-client_body/1")
    body.write(bytes(int(size)))
    body.flush()
    held.append(body)
    print(flush=True)
"""


@pytest.fixture
def chain(tmp_path: Path) -> StandingChain:
    return standing_chain(tmp_path, CHAIN)


def look(chain: StandingChain, metrics: MetricsText) -> Seen:
    """The values, by metric and labels."""
    return {name: dict(values) for name, values in metrics._take().values.items()}


@contextmanager
def running(chain: StandingChain, name: str, template: str) -> Iterator[subprocess.Popen[bytes]]:
    """An instance whose process has used 0.2 s of CPU and holds 20 files open."""
    tier = name.partition("-")[0]
    folder = chain.state / "instances" / name
    folder.mkdir(parents=True)
    command = [sys.executable, "-c", BUSY]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd=folder
    ) as one:
        try:
            assert one.stdout is not None
            one.stdout.readline()
            here = Address("127.0.0.1", 1)
            known = Instance(name, tier, template, here, here, one.pid, process.start_time(one.pid), str(folder))
            write_instance(folder / "instance.json", known)
            with chain.controlled("up") as journal:
                members = [member(name, template, Phase.ADMITTED)]
                journal.write_step(time.time(), tier, TierState(template), members, [LogLine("note", "hello")])
            yield one
        finally:
            one.kill()


def test_cpu_memory_and_descriptors_are_of_the_processes_of_each_version(chain: StandingChain) -> None:
    metrics = MetricsText([chain.state])
    with running(chain, "runtime-v1-1", "v1") as first, running(chain, "runtime-v2-2", "v2"):
        limit = resource.prlimit(first.pid, resource.RLIMIT_NOFILE)[0]
        seen = look(chain, metrics)
        for version in ("v1", "v2"):
            assert 0.19 < seen["instance_cpu_seconds_total"][*RUNTIME, version] < 40
            assert seen["instance_resident_bytes"][*RUNTIME, version] > 1_000_000
            assert 23 <= seen["instance_open_descriptors"][*RUNTIME, version] < 40
        assert seen["tier_descriptors_ratio"][RUNTIME] == pytest.approx(23 / limit, rel=0.5)


def test_the_cpu_that_was_used_stays_when_the_instance_is_gone(chain: StandingChain) -> None:
    metrics = MetricsText([chain.state])
    with running(chain, "runtime-v1-1", "v1"):
        used = look(chain, metrics)["instance_cpu_seconds_total"][*RUNTIME, "v1"]
    seen = look(chain, metrics)
    assert seen["instance_cpu_seconds_total"] == {(*RUNTIME, "v1"): used}
    assert "instance_resident_bytes" not in seen


def test_a_record_of_a_process_that_the_kernel_gave_its_number_anew_counts_nothing(chain: StandingChain) -> None:
    with running(chain, "runtime-v1-1", "v1") as one:
        here = Address("127.0.0.1", 1)
        other = Instance("runtime-v1-1", "runtime", "v1", here, here, one.pid, 1, "")
        write_instance(chain.state / "instances/runtime-v1-1/instance.json", other)
        assert "instance_cpu_seconds_total" not in look(chain, MetricsText([chain.state]))


def test_in_another_pid_namespace_nothing_is_known(chain: StandingChain, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(chain, "runtime-v1-1", "v1"):
        monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[1]")
        assert "instance_resident_bytes" not in look(chain, MetricsText([chain.state]))


def test_buffered_bodies_are_shown_against_their_bound_and_their_disk(chain: StandingChain) -> None:
    bodies = chain.state / "instances/edge-v1-1/tmp-client_body"
    metrics = MetricsText([chain.state])
    with running(chain, "edge-v1-1", "v1") as edge:
        assert look(chain, metrics)["buffered_body_ratio"] == {EDGE: 0}
        bodies.mkdir()
        for size in (700_000, 200_000):
            buffer(edge, size)
        seen = look(chain, metrics)
    disk = os.statvfs(chain.state)
    assert seen["buffered_body_bytes"][EDGE] == 900_000
    assert seen["buffered_body_ratio"][EDGE] == pytest.approx(0.9)
    assert seen["body_disk_size_bytes"][EDGE] == disk.f_blocks * disk.f_frsize
    assert 0 <= seen["body_disk_free_bytes"][EDGE] <= seen["body_disk_size_bytes"][EDGE]


def buffer(edge: subprocess.Popen[bytes], size: int) -> None:
    assert edge.stdin is not None
    assert edge.stdout is not None
    edge.stdin.write(b"%d\n" % size)
    edge.stdin.flush()
    edge.stdout.readline()


def test_of_several_disks_the_fullest_is_shown(chain: StandingChain, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk(folder: Path) -> os.statvfs_result:
        blocks, free, number = (100, 90, 1) if "edge-v1-1" in str(folder) else (200, 20, 2)
        return os.statvfs_result((1, 1, blocks, free, free, 0, 0, 0, 0, 255, number))

    monkeypatch.setattr(machine, "_disk", disk)
    with running(chain, "edge-v1-1", "v1"), running(chain, "edge-v1-2", "v1"):
        seen = look(chain, MetricsText([chain.state]))
    assert (seen["body_disk_free_bytes"][EDGE], seen["body_disk_size_bytes"][EDGE]) == (20, 200)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("nginx", {"tls": False}, None),
        ("nginx", {"routes": [{"buffering": "buffer", "max_body": "1MB"}]}, ("tmp-client_body", 10_000_000_000)),
        ("kong", {}, ("client_body_temp", None)),
        ("relay", {"segment": ["POST /upload"]}, None),
        ("relay", {"segment": ["POST /upload"], "replay": ["POST /pay"]}, ("/tmp", None)),  # noqa: S108
        ("envoy", {}, None),
        ("haproxy", {}, None),
        ("app", {}, None),
    ],
)
def test_each_kind_says_where_it_buffers_bodies(
    kind: str, settings: dict[str, object], expected: tuple[str, int | None] | None
) -> None:
    traits = HOPS[kind].traits
    found = traits.body_buffer(traits.settings.model_validate(settings), Path("/state/one"))
    assert found == (None if expected is None else BodyBuffer(Path("/state/one", expected[0]), expected[1]))
