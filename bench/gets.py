"""What a GET costs in the four-tier example, beside the same servers without changeover and without balancers.

    bench/gets.py [RATE ...]        200, 1,000 and 2,000 GETs a second unless named

Four chains of nginx, nginx stream, Envoy and the same two instances of the application, two instances a tier:

- `changeover`: the example as `changeover up` starts it, an HAProxy in front of each tier but the last;
- `no balancers`: copies of the servers with the very configuration that changeover renders, each of which addresses
  the next tier itself, as the clients address the edge;
- `default times`: the same with connections as old as they get by default. Those of the example live for a few
  seconds, so that its drains are short, and each new one of a client is a TLS handshake;
- `plain`: the shortest configuration that proxies, with connections kept, in the manner of each server's guide.

So `default times` over `plain` is the cost of what changeover writes into configuration, `no balancers` over `default
times` that of the example's short times, and `changeover` over `no balancers` that of the balancers and of the keeper.
bench/paced.py sends, evenly spaced. The rounds are short, each has all chains in a random order, and a ratio compares
two chains of one round; its range shows what the figure can tell. CPU is user and system time of all processes of a
part, from the kernel; what a part uses without any GET (health checks, looks) is in it, and is shown apart. A part over
the application divides both costs of one round: the application is the same in all chains, so its share of a round's
noise goes. What is left between two runs of the same chain is what a ratio cannot tell.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import paced
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
ROUNDS = 9
CLIENTS = 16
"""Connections to each of the two edges."""
SECONDS, WARM = 5.0, 1.0
STARTS = 20.0
"""Seconds until a server must listen."""
LOCAL, PATH = "127.0.0.1", "/hello"

TOTAL = "CPU µs"
NO_TIMES: Mapping[str, str] = MappingProxyType({})

Parts = dict[str, list[int]]
"""The first processes of each part of a chain."""


@dataclass(frozen=True)
class Chain:
    """`edges`: where clients send. `parts`: whose CPU is counted."""

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


DEFAULT_TIMES = {
    "keepalive_time 4000ms": "keepalive_time 60000ms",
    "keepalive_timeout 8000ms": "keepalive_timeout 20000ms",
    "keepalive_time 3000ms": "keepalive_time 10000ms",
    "keepalive_timeout 2000ms": "keepalive_timeout 3000ms",
}
"""Of clients and of the pool inward: the example's -> those of a template that names none."""


def without_balancers(
    servers: Servers, running: RunningChain, status: Mapping[str, Any], name: str, times: Mapping[str, str] = NO_TIMES
) -> Chain:
    """The servers of that chain once more, with addresses of their own and other `times` at the edge."""
    entries = json.loads((running.folder / ".changeover/platform.json").read_text(encoding="utf-8"))["entries"]
    edges, parts = [], {"edge": [], "l4": [], "gateway": [], "runtime": _pids(status, "runtime")}
    gateways: list[str] = []
    l4s: list[str] = []
    for one in _of(status, "gateway"):
        port, control, home = servers.port(), servers.port(), _home(running, one)
        text = (home / "envoy.json").read_text(encoding="utf-8")
        for old, new in ((one["address"], port), (one["control"], control)):
            text = text.replace(f'"port_value": {_port(old)}', f'"port_value": {new}')
        parts["gateway"].append(servers.envoy(f"{name} {one['name']}", json.loads(text), port))
        gateways.append(f"{LOCAL}:{port}")
    for one, gateway in zip(_of(status, "l4"), gateways, strict=True):
        port = servers.port()
        text = _copied(servers, running, one, port).replace(entries["gateway"], gateway)
        parts["l4"].append(servers.nginx(f"{name} {one['name']}", text, port))
        l4s.append(f"{LOCAL}:{port}")
    for one in _of(status, "edge"):
        port = servers.port()
        text = _copied(servers, running, one, port)
        for l4 in l4s:
            text = text.replace(entries["l4"], l4, 1)
        for short, default in times.items():
            text = text.replace(short, default)
        parts["edge"].append(servers.nginx(f"{name} {one['name']}", text, port))
        edges.append(f"{LOCAL}:{port}")
    return Chain(name, (edges[0], edges[1]), parts)


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


Figures = Mapping[str, float]


def measure(chain: Chain, rate: float) -> Figures:
    """One round: latencies in ms, CPU in µs a GET by part."""
    with paced.Load(chain.edges, PATH, CLIENTS) as load:
        load.warm(rate, WARM)
        before = {part: _cpu(pids) for part, pids in chain.parts.items()}
        sent = load.run(rate, SECONDS)
    spent = {part: _cpu(pids) - before[part] for part, pids in chain.parts.items()}
    times = sorted((*sent.kept, *sent.opened))
    figures = {
        "p50 ms": statistics.median(times) * 1e3,
        "p99 ms": times[int(len(times) * 0.99)] * 1e3,
        "late ms": statistics.median(sent.late) * 1e3,
        "handshakes": float(len(sent.opened)),
        TOTAL: sum(spent.values()) / len(times) * 1e6,
    }
    return figures | {f"{part} µs": value / len(times) * 1e6 for part, value in spent.items()}


def _cpu(pids: Sequence[int]) -> float:
    return sum(cpu(one) for pid in pids for one in family(pid))


def at_rest(chains: Sequence[Chain]) -> dict[str, dict[str, float]]:
    """CPU in µs a second without any GET, by part."""
    before = {chain.name: {part: _cpu(pids) for part, pids in chain.parts.items()} for chain in chains}
    time.sleep(SECONDS)
    return {
        chain.name: {
            part: (_cpu(pids) - before[chain.name][part]) / SECONDS * 1e6 for part, pids in chain.parts.items()
        }
        for chain in chains
    }


def compare(chains: Sequence[Chain], rate: float, console: Console) -> dict[str, dict[str, list[float]]]:
    """Chain -> its figures and their ratios over `plain`, each with its quartiles."""
    rounds: list[dict[str, Figures]] = []
    for number in range(ROUNDS):
        console.print(f"{rate:g} GET/s, round {number + 1} of {ROUNDS}", style="dim")
        rounds.append({chain.name: measure(chain, rate) for chain in random.sample(chains, len(chains))})
    return {chain.name: _summed(rounds, chain.name) for chain in chains}


def _summed(rounds: Sequence[Mapping[str, Figures]], name: str) -> dict[str, list[float]]:
    found = {}
    for key in rounds[0][name]:
        found[key] = [one[name][key] for one in rounds]
        if key.endswith("ms") and key != "late ms":
            found[f"{key}, x plain"] = [one[name][key] / one["plain"][key] for one in rounds]
        elif key in rounds[0]["plain"] and key.endswith("µs"):
            pairs = [(one[name], one["plain"]) for one in rounds]
            found[f"{key}, x plain"] = [
                mine[key] / its[key] / (mine["runtime µs"] / its["runtime µs"]) for mine, its in pairs
            ]
    return {key: _spread(values) for key, values in found.items()}


def _spread(values: Sequence[float]) -> list[float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return [middle, low, high]


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: no server is left running
    console = Console(width=200)
    rates = [float(word) for word in sys.argv[1:]] or RATES
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory(prefix="changeover-bench-") as name:
        folder = Path(name)
        example = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
        with RunningChain(folder, example) as running, Servers(folder) as servers:
            status = running.run("status")
            chains = (
                rolled(running, status),
                without_balancers(servers, running, status, "no balancers"),
                without_balancers(servers, running, status, "default times", DEFAULT_TIMES),
                plain(servers, running, status),
            )
            rest = at_rest(chains)
            for rate in rates:
                found[f"{rate:g} GET/s"] = compare(chains, rate, console)
    for title, rows in found.items():
        console.print(_table(title, rows))
    for name, row in rest.items():
        console.print(f"at rest, CPU µs a second: {name}: " + ", ".join(f"{part} {row[part]:.0f}" for part in row))
    results = {"rounds (median, quartiles)": ROUNDS, "at rest, CPU µs a second": rest, **found}
    write_results("gets", results, console)


def _table(title: str, rows: Mapping[str, Mapping[str, list[float]]]) -> Table:
    columns = [key for key in next(iter(rows.values())) if "x plain" not in key]
    table = Table(title, *columns)
    for name, row in rows.items():
        table.add_row(name, *(f"{row[key][0]:.4g}" if key in row else "" for key in columns))
        if name != "plain":
            ratios = (row.get(f"{key}, x plain") for key in columns)
            shown = ("{:.2f} ({:.2f}-{:.2f})".format(*one) if one else "" for one in ratios)
            table.add_row("  x plain", *shown, style="dim")
    return table


if __name__ == "__main__":
    main()
