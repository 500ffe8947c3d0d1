"""What several benchmarks need: a running chain with a probe, and the file for the results."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from rich.console import Console

RESULTS = Path(__file__).parent / "results"


def write_results(name: str, figures: object, console: Console) -> None:
    """Write the figures to bench/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(figures, indent=1) + "\n")
    console.print(f"written to {path}", style="dim")


class RunningChain:
    """A chain that is up for the time of the block, in its own folder."""

    def __init__(self, folder: Path, chain: Mapping[str, Any]) -> None:
        self.folder = folder
        (folder / "chain.yaml").write_text(yaml.safe_dump(dict(chain), sort_keys=False))

    def __enter__(self) -> Self:
        self.run("up", "-f", "chain.yaml")
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down")

    def run(self, *words: str) -> Any:
        """Run one command and return the JSON object that it prints."""
        argv = [sys.executable, "-m", "changeover", *words, "--json"]
        done = subprocess.run(argv, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def probing(self, *options: object, uploads: int) -> Iterator[dict[str, Any]]:
        """Run a probe during the block, from the moment when all uploads are in flight. Then fill in its verdict."""
        argv = [sys.executable, "-m", "changeover", "probe", "--json", "--uploads", uploads, *options]
        verdict: dict[str, Any] = {}
        with subprocess.Popen(
            [*map(str, argv)], cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as probe:
            assert probe.stderr is not None
            next(line for line in probe.stderr if f" {uploads} in flight" in line)
            try:
                yield verdict
            finally:
                probe.send_signal(signal.SIGTERM)
                verdict |= json.loads(probe.communicate()[0])
