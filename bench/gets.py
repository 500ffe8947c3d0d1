"""What a GET costs in the four-tier example, beside the same servers without changeover and without balancers.

    bench/gets.py [RATE ...]        200, 1,000 and 2,000 GETs a second unless named

Three chains of nginx, nginx stream, Envoy and the same two instances of the application, two instances a tier:

- `changeover`: the example as `changeover up` starts it, an HAProxy in front of each tier but the last;
- `no balancers`: copies of the servers with the very configuration that changeover renders, each of which addresses
  the next tier itself, as the clients address the edge;
- `plain`: the shortest configuration that proxies, with connections kept, in the manner of each server's guide.

So `no balancers` over `plain` is the cost of what changeover writes into configuration, and `changeover` over `no
balancers` that of the balancers and of the keeper. `hey` (Debian's package) sends at a constant rate over kept TLS
connections, and connects anew where the example closes one (`keepalive_time: 4s`). The rounds are interleaved, the
figures are medians; compare ratios, because the machine is shared. CPU is user and system time of all processes of a
part, from the kernel.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from proxies.measure import cpu, family
from proxies.peers import CONNECTIONS, SBIN, TEMPORARY, UNLIMITED, envoy_command, envoy_config
from rich.console import Console
from rich.table import Table
from shared import RunningChain, write_results

from changeover.hops.nginx import binary
from changeover.kit import process, sockets

EXAMPLE = Path(__file__).parents[1] / "examples/01-four-tiers/chain.yaml"
RATES = (200, 1000, 2000)
ROUNDS = 3
CLIENTS = 16
"""Kept connections of each of the two senders."""
SECONDS, WARM = 8, 2
STARTS = 20.0
"""Seconds until a server must listen."""
LOCAL, PATH = "127.0.0.1", "/hello"

Parts = dict[str, list[int]]
"""The first processes of each part of a chain."""


@dataclass(frozen=True)
class Chain:
    """`edges`: where the two senders send. `parts`: whose CPU is counted."""

    name: str
    edges: tuple[str, str]
    parts: Parts


class Servers:
    """Servers of the bench's own, ended with the block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[int] = set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def port(self) -> int:
        found = sockets.free_port(LOCAL, self._taken)
        self._taken.add(found)
        return found

    def start(self, home: Path, argv: Sequence[str], port: int) -> int:
        """Start one in its folder; returns its pid once it listens."""
        pid, born = process.spawn(argv, home=home, env={**os.environ, "PATH": SBIN})
        self._stack.callback(process.kill_session, pid, born)
        deadline = time.monotonic() + STARTS
        while not _accepts(port):
            if not process.is_alive(pid, born) or time.monotonic() > deadline:
                sys.exit(f"{home.name} does not listen:\n{(home / 'log').read_text(encoding='utf-8')}")
            time.sleep(0.02)
        return pid

    def nginx(self, name: str, config: str, port: int) -> int:
        home = self.folder / name
        home.mkdir()
        (home / "nginx.conf").write_text(config)
        return self.start(home, (binary.find().path, "-p", str(home), "-c", "nginx.conf", "-e", "stderr"), port)

    def envoy(self, name: str, config: Mapping[str, Any], port: int) -> int:
        home = self.folder / name
        home.mkdir()
        (home / "envoy.json").write_text(json.dumps(config))
        return self.start(home, envoy_command(), port)


def _accepts(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex((LOCAL, port)) == 0


# -- the chains ------------------------------------------------------------------------------------------------------


def rolled(running: RunningChain, status: Mapping[str, Any]) -> Chain:
    """The chain that changeover runs."""
    platform = json.loads((running.folder / ".changeover/platform.json").read_text(encoding="utf-8"))
    parts = {tier["name"]: _pids(status, tier["name"]) for tier in status["tiers"]}
    edge = status["edge_url"].removeprefix("https://")
    return Chain(
        "changeover", (edge, edge), {**parts, "balancers": [platform["pid"]], "keeper": [status["keeper_pid"]]}
    )


def without_balancers(servers: Servers, running: RunningChain, status: Mapping[str, Any]) -> Chain:
    """The servers of that chain once more, with addresses of their own."""
    entries = json.loads((running.folder / ".changeover/platform.json").read_text(encoding="utf-8"))["entries"]
    edges, parts = [], {"edge": [], "l4": [], "gateway": [], "runtime": _pids(status, "runtime")}
    gateways: list[str] = []
    l4s: list[str] = []
    for one in _of(status, "gateway"):
        port, control, home = servers.port(), servers.port(), _home(running, one)
        text = (home / "envoy.json").read_text(encoding="utf-8")
        for old, new in ((one["address"], port), (one["control"], control)):
            text = text.replace(f'"port_value": {_port(old)}', f'"port_value": {new}')
        parts["gateway"].append(servers.envoy(f"copy of {one['name']}", json.loads(text), port))
        gateways.append(f"{LOCAL}:{port}")
    for one, gateway in zip(_of(status, "l4"), gateways, strict=True):
        port = servers.port()
        text = _copied(servers, running, one, port).replace(entries["gateway"], gateway)
        parts["l4"].append(servers.nginx(f"copy of {one['name']}", text, port))
        l4s.append(f"{LOCAL}:{port}")
    for one in _of(status, "edge"):
        port = servers.port()
        text = _copied(servers, running, one, port)
        for l4 in l4s:
            text = text.replace(entries["l4"], l4, 1)
        parts["edge"].append(servers.nginx(f"copy of {one['name']}", text, port))
        edges.append(f"{LOCAL}:{port}")
    return Chain("no balancers", (edges[0], edges[1]), parts)


def _copied(servers: Servers, running: RunningChain, one: Mapping[str, Any], port: int) -> str:
    text = (_home(running, one) / "nginx.conf").read_text(encoding="utf-8")
    return text.replace(one["address"], f"{LOCAL}:{port}").replace(one["control"], f"{LOCAL}:{servers.port()}")


def plain(servers: Servers, running: RunningChain, status: Mapping[str, Any]) -> Chain:
    """nginx, nginx and Envoy as their guides configure them."""
    runtimes = [one["address"] for one in _of(status, "runtime")]
    parts: Parts = {"edge": [], "l4": [], "gateway": [], "runtime": _pids(status, "runtime")}
    tls, l4s, edges = running.folder / ".changeover/tls", [], []
    for number in (1, 2):
        gateway, l4 = servers.port(), servers.port()
        config = envoy_config(gateway, [_port(one) for one in runtimes])
        parts["gateway"].append(servers.envoy(f"plain gateway {number}", config, gateway))
        stream = f"stream {{ server {{ listen {LOCAL}:{l4}; proxy_pass {LOCAL}:{gateway}; }} }}"
        parts["l4"].append(servers.nginx(f"plain l4 {number}", _main() + stream, l4))
        l4s.append(l4)
    for number in (1, 2):
        port = servers.port()
        members = " ".join(f"server {LOCAL}:{one};" for one in l4s)
        http = f"""http {{
            access_log off; {" ".join(f"{name}_temp_path tmp-{name};" for name in TEMPORARY)}
            upstream l4 {{ {members} keepalive 64; keepalive_requests {UNLIMITED}; }}
            server {{
                listen {LOCAL}:{port} ssl; keepalive_requests {UNLIMITED};
                ssl_certificate "{tls}/edge.pem"; ssl_certificate_key "{tls}/edge.key"; ssl_session_cache shared:tls:1m;
                location / {{
                    proxy_pass http://l4; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Forwarded-Proto $scheme;
                }}
            }}
        }}"""
        parts["edge"].append(servers.nginx(f"plain edge {number}", _main() + http, port))
        edges.append(f"{LOCAL}:{port}")
    return Chain("plain", (edges[0], edges[1]), parts)


def _main() -> str:
    user = "user root;" if os.geteuid() == 0 else ""
    found = binary.find()
    modules = f"load_module {found.stream_module};" if found.stream_module else ""
    return (
        f"{modules} daemon off; {user} worker_processes 1; pid pid; error_log stderr warn;"
        f" events {{ worker_connections {CONNECTIONS}; }}\n"
    )


def _of(status: Mapping[str, Any], tier: str) -> list[dict[str, Any]]:
    return [one for one in status["instances"] if one["tier"] == tier]


def _pids(status: Mapping[str, Any], tier: str) -> list[int]:
    return [one["pid"] for one in _of(status, tier)]


def _home(running: RunningChain, one: Mapping[str, Any]) -> Path:
    return running.folder / ".changeover/instances" / str(one["name"])


def _port(place: str) -> int:
    return int(place.rpartition(":")[2])


# -- measurements ----------------------------------------------------------------------------------------------------


def measure(chain: Chain, rate: int) -> dict[str, float]:
    """One round: GETs a second that were answered, p50 and p99 in ms, CPU in µs a GET by part."""
    _sent(chain, rate, WARM)
    before = {part: _cpu(pids) for part, pids in chain.parts.items()}
    started = time.perf_counter()
    rows = _sent(chain, rate, SECONDS)
    seconds = time.perf_counter() - started
    spent = {part: _cpu(pids) - before[part] for part, pids in chain.parts.items()}
    wrong = sum(row["status-code"] != "200" for row in rows)
    if wrong or not rows:
        sys.exit(f"{chain.name} at {rate} GET/s: {wrong} of {len(rows)} were not answered with 200")
    times = sorted(float(row["response-time"]) * 1000 for row in rows)
    figures = {
        "GET/s": len(rows) / seconds,
        "p50 ms": statistics.median(times),
        "p99 ms": times[int(len(times) * 0.99)],
        "CPU µs": sum(spent.values()) / len(rows) * 1e6,
    }
    return figures | {f"{part} µs": value / len(rows) * 1e6 for part, value in spent.items()}


def _sent(chain: Chain, rate: int, seconds: int) -> list[dict[str, str]]:
    """What `hey` says of each GET."""
    each = str(rate / len(chain.edges) / CLIENTS)
    words = ("hey", "-z", f"{seconds}s", "-c", str(CLIENTS), "-q", each, "-o", "csv")
    senders = [
        subprocess.Popen([*words, f"https://{edge}{PATH}"], stdout=subprocess.PIPE, text=True) for edge in chain.edges
    ]
    texts = [one.communicate(timeout=seconds + 60)[0] for one in senders]
    return [row for text in texts for row in csv.DictReader(text.splitlines())]


def _cpu(pids: Sequence[int]) -> float:
    return sum(cpu(one) for pid in pids for one in family(pid))


def compare(chains: Sequence[Chain], rate: int, console: Console) -> dict[str, dict[str, float]]:
    """Medians of the rounds: chain -> its figures, and its ratios over `plain`, each of one round."""
    rounds: list[dict[str, dict[str, float]]] = []
    for number in range(ROUNDS):
        console.print(f"{rate} GET/s, round {number + 1} of {ROUNDS}", style="dim")
        found = {chain.name: measure(chain, rate) for chain in chains}
        base = found["plain"]
        for one in found.values():
            one |= {f"x plain, {name}": one[name] / base[name] for name in ("p50 ms", "p99 ms", "CPU µs")}
        rounds.append(found)
    return {
        chain.name: {name: statistics.median(one[chain.name][name] for one in rounds) for name in rounds[0][chain.name]}
        for chain in chains
    }


def main() -> None:
    console = Console(width=140)
    if shutil.which("hey") is None:
        sys.exit("hey is missing: scripts/install-packages hey")
    rates = [int(word) for word in sys.argv[1:]] or RATES
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as name:
        folder = Path(name)
        example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        with RunningChain(folder, example) as running, Servers(folder) as servers:
            status = running.run("status")
            chains = (
                rolled(running, status),
                without_balancers(servers, running, status),
                plain(servers, running, status),
            )
            for rate in rates:
                found[f"{rate} GET/s"] = compare(chains, rate, console)
    for title, rows in found.items():
        console.print(_table(title, rows))
    write_results("gets", found, console)


def _table(title: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = list(next(iter(rows.values())))
    table = Table(title, *columns)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key]:.4g}" if key in row else "" for key in columns))
    return table


if __name__ == "__main__":
    main()
