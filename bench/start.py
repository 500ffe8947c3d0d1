"""What a command costs before it does anything: user CPU and peak memory of a start, as the kernel accounts them.

Rounds are interleaved, figures are medians. Exits with 1 where a command is over its limit. Written to
results/start.json.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared import write_results

ROUNDS = 9
EXAMPLE = Path(__file__).parents[1] / "examples/01-four-tiers/chain.yaml"
CPU_LIMIT = 0.35
"""Seconds: with it a command feels immediate, and a loop over many chains costs little."""
MEMORY_LIMIT = 45.0
"""Megabytes."""
COMMANDS = {
    "--help": ("--help",),
    "status, no chain": ("status", "--state", "none"),
    "schema": ("schema",),
    "status, a chain that is down": ("status", "--state", "state"),
    "history --help": ("history", "--help"),
    "import changeover.uploads": (),
}
LIMITED = ("--help", "status, no chain", "schema")


@dataclass(frozen=True)
class Start:
    cpu: float
    """User seconds."""
    memory: float
    """Peak resident megabytes."""


def start(words: tuple[str, ...], folder: Path) -> Start:
    """Start one command and wait for its end."""
    program = ("-m", "changeover", *words) if words else ("-c", "import changeover.uploads")
    process = subprocess.Popen(
        (sys.executable, *program), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, words
    return Start(usage.ru_utime, usage.ru_maxrss / 1000)


def main() -> int:
    found: dict[str, list[Start]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "state").mkdir()
        (folder / "state/chain.yaml").write_text(EXAMPLE.read_text())
        for _ in range(ROUNDS):
            for name, words in COMMANDS.items():
                found[name].append(start(words, folder))
    medians = {
        name: Start(*(statistics.median(figures) for figures in zip(*((s.cpu, s.memory) for s in starts), strict=True)))
        for name, starts in found.items()
    }
    console = Console()
    table = Table("command", "user CPU", "peak memory", "limits")
    for name, median in medians.items():
        limits = f"{CPU_LIMIT} s, {MEMORY_LIMIT:.0f} MB" if name in LIMITED else ""
        table.add_row(name, f"{median.cpu:.2f} s", f"{median.memory:.0f} MB", limits)
    console.print(table)
    write_results("start", {name: asdict(median) for name, median in medians.items()}, console)
    return int(any(medians[name].cpu > CPU_LIMIT or medians[name].memory > MEMORY_LIMIT for name in LIMITED))


if __name__ == "__main__":
    sys.exit(main())
