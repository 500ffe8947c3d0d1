"""`changeover demo`: the whole job on one machine, or with --naive a control run that must break requests.

It starts the chain, sends traffic, rolls every tier from its first template to its last from the inside out, prints the
verdict and stops the chain. `changeover probe` sends the traffic in a process of its own, so that it shares no event
loop with the controller that it judges.
"""

from __future__ import annotations

import contextlib
import json as jsonlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.status import Status
from rich.text import Text

from changeover import wiring
from changeover.cli import exits
from changeover.cli.chain_traffic import traffic_of
from changeover.cli.commands.down import stop as stop_chain
from changeover.cli.commands.up import start as start_chain
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, JsonOption
from changeover.cli.options.traffic import (
    BodyOption,
    OwnConnectionsOption,
    OwnRateOption,
    OwnTimeOption,
    OwnUploadsOption,
    TrafficOptions,
    applied,
)
from changeover.cli.probe_process import probing
from changeover.cli.rendering.demo import data, picture
from changeover.cli.rendering.output import Output
from changeover.cli.reports import rollouts_report, write_page
from changeover.cli.traces import send_trace
from changeover.engine.journal.lease import patient_lease
from changeover.engine.naive import restart_tier
from changeover.engine.release.outcome import Rolled
from changeover.engine.release.release import roll
from changeover.engine.runtime import ProgressListener
from changeover.kit.files import write_whole
from changeover.model.errors import fail

EXAMPLE = "01-four-tiers/chain.yaml"
RATE = 220.0
"""GETs per second to the example application: what a machine with two cores serves beside the whole chain."""


def demo(
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The chain file. Default: chain.yaml, else the example of this package."),
    ] = None,
    naive: Annotated[
        bool, typer.Option("--naive", help="Control run: restart the instances without draining. Must break requests.")
    ] = False,
    rate: OwnRateOption = None,
    connections: OwnConnectionsOption = None,
    uploads: OwnUploadsOption = None,
    upload_size: BodyOption = None,
    upload_time: OwnTimeOption = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder that holds the chain's state. Default: .changeover/demo; a new temporary folder for the "
            "example of this package.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Start a chain, send traffic, roll every tier, print the verdict, stop the chain. Exits 3 if a request broke."""
    traffic = TrafficOptions(
        rate=rate, connections=connections, uploads=uploads, body=upload_size, upload_time=upload_time
    )
    source = file or Path("chain.yaml")
    if file is None and not source.exists():
        source = packaged_examples() / EXAMPLE
        state = state or Path(tempfile.mkdtemp(prefix="changeover-demo-"))
    folder = state or STATE / "demo"
    try:
        run(json, lambda output: _demo(output, source, folder, traffic, naive), acts=True)
    finally:
        if folder.name.startswith("changeover-demo-") and not any(folder.iterdir()):
            folder.rmdir()


def packaged_examples() -> Path:
    """The folder of the examples: in an installed package, or at the root of a clone."""
    package = Path(wiring.__file__).parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parents[1] / "examples"


async def _demo(output: Output, source: Path, state: Path, options: TrafficOptions, naive: bool) -> int:
    since = time.time()
    with _watching(output) as watch:
        on_progress = output.progress_since(since)
        found = wiring.wire(source, state)
        found.check_software()
        words, in_flight = _probe_words(found, options)
        output.note(f"The chain of {source} starts. Its state, logs and ledger are in {state}.")
        with contextlib.closing(found.journal()) as journal:
            up_already = journal.is_up()
        if up_already:
            raise fail(
                f"a chain is already up in {state}",
                next=f"Take it down first: `changeover down --state {state}`.",
            )
        watch("starting the chain")
        await start_chain(found, source, on_progress)
        try:
            async with probing(state, words, in_flight, lambda line: watch(line)) as prober:
                rolls = await _roll_all(found, on_progress, naive)
                verdict = await prober.verdict()
            with contextlib.closing(found.journal()) as journal:
                rows = [row for row in journal.rollouts() if row.started >= since and row.from_template]
                page = rollouts_report(journal, rows, [Path(verdict["ledger"])])
        finally:
            watch("taking the chain down")
            await stop_chain(found, on_progress)
        with contextlib.closing(found.journal()) as journal:
            for row in rows:
                await send_trace(journal, journal.release_of(row), output.note)
    report = data(verdict, rolls, Path(verdict["ledger"]), since)
    path = state / ("report-naive.json" if naive else "report.json")
    write_whole(path, jsonlib.dumps(report, indent=1))
    write_page(page, path.with_suffix(".html"))
    where = Text(f"report: {path.with_suffix('.html')}", style="dim")
    output.result(
        {**report, "report": str(path), "page": str(path.with_suffix(".html"))}, Group(picture(report, naive), where)
    )
    return exits.DONE if report["verdict"]["clean"] else exits.INTERRUPTED


def _probe_words(found: wiring.Wired, options: TrafficOptions) -> tuple[list[str], int]:
    """The options of the probe, and the uploads that it keeps in flight. Raises ChangeoverError for a wrong option."""
    if found.chain.probe is None and options.rate is None:
        options = replace(options, rate=RATE)
    traffic, _ = applied(options, traffic_of(found))
    given = {
        "--rate": options.rate,
        "--connections": options.connections,
        "--uploads": options.uploads,
        "--body": None if options.body is None else int(options.body),
        "--upload-time": None if options.upload_time is None else f"{options.upload_time}s",
    }
    words = [str(word) for name, value in given.items() if value is not None for word in (name, value)]
    return words, sum(post.concurrent for post in traffic.post)


async def _roll_all(found: wiring.Wired, on_progress: ProgressListener, naive: bool) -> list[Rolled]:
    """Every tier from the inside out to its last template."""
    done: list[Rolled] = []
    with contextlib.closing(found.journal()) as journal:
        async with patient_lease(journal, "demo", time.time()):
            goals = {tier.name: list(tier.templates)[-1] for tier in found.chain.inside_out}
            found.keep_environment(journal, goals)
            for tier in found.chain.inside_out:
                goal = goals[tier.name]
                if naive:
                    await restart_tier(found.runtime, found.this_machine(), journal, tier, goal, on_progress)
                    continue
                done += (await roll(found.runtime, journal, {tier.name: goal}, on_progress)).parts
                one = done[-1]
                if one.finish.outcome != "completed":
                    raise fail(f"{tier.name} did not reach {goal}: {one.finish.reason}", exit_code=exits.ROLLED_BACK)
    return done


@contextlib.contextmanager
def _watching(output: Output) -> Any:
    """A function that shows the current activity: a changing line on a terminal, elsewhere a line every 5 s."""
    if output.is_live:
        with Status("", console=output.err) as status:
            yield status.update
        return
    shown = [0.0]

    def show(line: str) -> None:
        if time.monotonic() - shown[0] >= 5:
            shown[0] = time.monotonic()
            output.note(line)

    yield show
