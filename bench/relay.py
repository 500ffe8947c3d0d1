"""The cost of the relay beside other proxies and beside no proxy, in one run.

Every peer receives the same plain POSTs from the same load and forwards them to the same sink, with one worker on one
thread. Only the relay keeps unacknowledged bytes and could resend them. The rounds are interleaved, each figure comes
from a newly started peer, and the output shows medians. Other work on the machine changes the absolute figures;
compare ratios.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence

from proxies import network, report
from proxies.load import CONGESTION, Case
from proxies.measure import Failed, Figures, measure, sink
from proxies.peers import HAPROXIES, PEERS, RELAY, Peer
from rich.console import Console
from shared import write_results

MB = 1_000_000
CASES = (
    Case("1 GB", 1000 * MB, 1, 1),
    Case("50 MB x 1", 50 * MB, 1, 12),
    Case("50 MB x 8", 50 * MB, 8, 16),
    Case("50 MB x 64", 50 * MB, 64, 64),
    # With 50 MB, a peer that buffers would hold 25 GB at once.
    Case("8 MB x 512", 8 * MB, 512, 512),
    *(Case(f"chunks of {kib} KiB x 8", 25 * MB, 8, 16, chunk=kib * 1024) for kib in (1, 16, 64, 1024)),
    Case("100 KB x 8", 100_000, 8, 4000),
    Case("10 KB x 64", 10_000, 64, 20_000),
    Case("1 KB x 1", 1000, 1, 4000),
)
QUICK = ("50 MB x 8", "chunks of 16 KiB x 8", "10 KB x 64")
ROUNDS = 3


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="a sample: one round, few cases, few peers")
    options.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this one")
    options.add_argument("--only", action="append", choices=[peer.name for peer in PEERS], help="only this peer")
    asked = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: no proxy is left running

    console = Console()
    names = asked.case or (QUICK if asked.quick else [case.name for case in CASES])
    cases = [case for case in CASES if case.name in names]
    wanted = asked.only or ([RELAY.name, HAPROXIES[0].name] if asked.quick else [peer.name for peer in PEERS])
    peers = [peer for peer in PEERS if peer.name in wanted and not peer.missing()]
    for peer in PEERS:
        if peer.name in wanted and peer not in peers:
            console.print(f"skipped, because it is not installed: {peer.name}", style="yellow")

    default = network.DEFAULT.read_text().strip()
    senders = CONGESTION.decode() if network.enter(CONGESTION.decode()) else default
    console.print(f"congestion control: {senders} (the machine's default is {default}); load: {CONGESTION.decode()}")
    rounds = _rounds(console, cases, peers, 1 if asked.quick else ROUNDS)
    results = {case.name: report.medians(case, rounds[case.name]) for case in cases}

    for case in cases:
        console.print(report.table(case, results[case.name]))
        for name, row in results[case.name].items():
            if "failed" in row:
                console.print(f"{name} failed: {row['failed']}", style="red", markup=False)
    console.print(
        "CPU is of the proxy; x splice: over haproxy's with splice; x copy: over sending and receiving alone;"
    )
    console.print("path: with load and sink; machine: whatever ran meanwhile")
    aims = [aim for case in cases for aim in report.aims(case, results[case.name])]
    for text, kept in aims:
        console.print(f"{'kept  ' if kept else 'missed'} {text}", style="green" if kept else "red")
    conditions = {
        "rounds": len(rounds[cases[0].name]),
        "processors": os.cpu_count(),
        "congestion control": {"load": CONGESTION.decode(), "peers": senders, "machine's default": default},
    }
    write_results("relay", {**conditions, "medians": results, "aims": aims}, console)


def _rounds(console: Console, cases: Sequence[Case], peers: Sequence[Peer], rounds: int) -> Mapping[str, report.Rounds]:
    """Case -> its rounds."""
    seen: dict[str, list[dict[str, Figures | str]]] = {case.name: [] for case in cases}
    with sink() as (pid, port):
        for number in range(rounds):
            for case in cases:
                console.print(f"round {number + 1} of {rounds}: {case.name}", style="dim")
                figures: dict[str, Figures | str] = {report.LIMIT: measure(None, case, pid, port)}
                for peer in peers:
                    try:
                        figures[peer.name] = measure(peer, case, pid, port)
                    except Failed as error:
                        figures[peer.name] = str(error)
                seen[case.name].append(figures)
    return seen


if __name__ == "__main__":
    main()
