"""What an audit of 1,000 files costs, and the start of the command; on the part for nginx, beside gixy.

The files are the examples of all rules, each set in a folder of its own. CPU is user and system time, as the kernel
accounts it; figures are medians. Exits with 1 where a limit is exceeded. gixy (gixy-ng, MPL-2.0) runs if its command is
on the PATH: `pip install gixy-ng` in an environment of its own. Written to results/audit.json.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.table import Table
from shared import write_results

from changeover.audit.rules import all_rules
from changeover.conf.registry import NGINX, reader_of

FILES = 1_000
ROUNDS = 5
AUDIT = (sys.executable, "-m", "changeover", "audit")
LIMITS = {"1,000 files": (3.0, 300.0), "--help": (0.4, 300.0)}
"""Seconds of CPU, and megabytes."""


@dataclass(frozen=True)
class Cost:
    cpu: float
    """User and system seconds."""
    memory: float
    """Peak resident megabytes."""


def sets() -> Iterator[dict[str, str]]:
    """The examples of the rules, over and over."""
    examples = [dict(files) for rule in all_rules() for files in (rule.bad, rule.good)]
    yield from cycle(examples)


def write(folder: Path, count: int, only: str = "") -> int:
    """Write so many files, those of one format alone where it is given. Returns their bytes."""
    written = size = 0
    for number, files in enumerate(sets()):
        if written == count:
            break
        for name, text in files.items():
            reader = reader_of(text, name)
            if written == count or (only and (reader is None or reader.name != only)):
                continue
            path = folder / str(number) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written, size = written + 1, size + len(text)
    return size


def cost(*words: str) -> Cost:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode in (0, 1), words
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def median(*words: str) -> Cost:
    found = [cost(*words) for _ in range(ROUNDS)]
    return Cost(statistics.median(one.cpu for one in found), statistics.median(one.memory for one in found))


def main() -> int:
    figures: dict[str, Cost] = {"--help": median(*AUDIT, "--help")}
    with tempfile.TemporaryDirectory() as temporary:
        every, nginx = Path(temporary, "all"), Path(temporary, "nginx")
        size = write(every, FILES)
        write(nginx, FILES, NGINX.name)
        figures["1,000 files"] = median(*AUDIT, str(every))
        figures["1,000 files of nginx"] = median(*AUDIT, str(nginx))
        if (gixy := shutil.which("gixy")) is not None:
            configurations = [str(path) for path in sorted(nginx.rglob("*")) if path.is_file()]
            figures["1,000 files of nginx, gixy"] = median(gixy, *configurations)
    console = Console()
    table = Table("what", "CPU", "peak memory", "limits", title=f"{FILES:,} files of {size / 1e6:.1f} MB")
    for name, one in figures.items():
        limits = "{} s, {:.0f} MB".format(*LIMITS[name]) if name in LIMITS else ""
        table.add_row(name, f"{one.cpu:.2f} s", f"{one.memory:.0f} MB", limits)
    console.print(table)
    write_results("audit", {name: asdict(one) for name, one in figures.items()}, console)
    return int(any(figures[name].cpu > cpu or figures[name].memory > memory for name, (cpu, memory) in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
