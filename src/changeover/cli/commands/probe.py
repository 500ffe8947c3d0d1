"""`changeover probe`: send traffic, count every broken request, print a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Group
from rich.text import Text
from typer.core import TyperCommand

from changeover.cli import exits
from changeover.cli.chain_traffic import traffic_of
from changeover.cli.chains import running
from changeover.cli.frame import run
from changeover.cli.ledgers import LedgerPlace, ledger_place
from changeover.cli.options.common import STATE, FileOption, JsonOption
from changeover.cli.options.reports import ReportFiles, ReportOption, SummaryOption
from changeover.cli.options.tls import (
    CaOption,
    CertificateOption,
    InsecureOption,
    KeyOption,
    ServerNameOption,
    tls_of,
)
from changeover.cli.options.traffic import (
    BodyOption,
    DigestOption,
    FormOption,
    GetOption,
    HeaderOption,
    MethodOption,
    OwnConnectionsOption,
    OwnRateOption,
    OwnTimeOption,
    OwnUploadsOption,
    PostOption,
    ReadBackOption,
    TimeoutOption,
    TrafficOptions,
    VersionHeaderOption,
    VersionPatternOption,
    applied,
)
from changeover.cli.options.values import seconds
from changeover.cli.probe_figures import counting
from changeover.cli.probed_command import ProbedCommand
from changeover.cli.rendering.output import Output
from changeover.cli.reports import report_traffic
from changeover.cli.survey import edge_url
from changeover.engine.journal.journal import Journal
from changeover.kit.clock import Clock
from changeover.model.chainfile import read_as
from changeover.model.errors import fail
from changeover.model.probe import ProbeFile, ProbeSettings, Tls
from changeover.model.units import human_bytes
from changeover.probe import report
from changeover.probe.records.row import LedgerRow
from changeover.probe.steady import SteadyWatch
from changeover.probe.traffic import ProbeProgress
from changeover.probe.traffic import run as send
from changeover.probe.traffic_plan import TrafficPlan, check_address


@dataclass(frozen=True)
class TrafficTarget:
    """Where to send traffic, and how to ask what the tiers are doing (None for a server outside a chain)."""

    url: str
    traffic: ProbeSettings
    """The traffic unless options change it."""
    tls: Tls
    tier_state: Callable[[], Mapping[str, object]] | None
    state: Path | None = None
    """The state folder of the chain."""


class ProbeCommand(TyperCommand):
    """Takes the words after `--` as a command of their own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.obj = None if at == len(args) else args[at + 1 :]
        return super().parse_args(ctx, args[:at])

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]


COMMAND_CLASS = ProbeCommand


def probe(
    context: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Server to send to. Default: the edge of the running chain.")
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="A probe.yaml with the URL, the traffic and TLS settings."),
    ] = None,
    get: GetOption = None,
    post: PostOption = None,
    duration: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="How long to send; 0s: until Ctrl-C or SIGTERM.")
    ] = 0,
    rate: OwnRateOption = None,
    connections: OwnConnectionsOption = None,
    timeout: TimeoutOption = None,
    header: HeaderOption = None,
    body: BodyOption = None,
    uploads: OwnUploadsOption = None,
    upload_time: OwnTimeOption = None,
    method: MethodOption = "",
    form: FormOption = "",
    digest: DigestOption = "",
    read_back: ReadBackOption = "",
    version_header: VersionHeaderOption = "",
    version_pattern: VersionPatternOption = "",
    ca: CaOption = "",
    insecure: InsecureOption = False,
    server_name: ServerNameOption = "",
    certificate: CertificateOption = "",
    key: KeyOption = "",
    steady: Annotated[
        float,
        typer.Option(parser=seconds, metavar="TIME", help="COMMAND runs after this long without a broken request."),
    ] = 3,
    ledger: Annotated[Path | None, typer.Option(help="File that gets one JSON line per request.")] = None,
    report_file: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Folder that holds the chain's state; with URL, only the place of the ledger."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send requests without retries, and count broken ones. Exits 3 if a request broke.

    With a URL the probe sends what --get and --post name, or else GETs the URL itself. Without one it sends the traffic
    of the running chain. With a COMMAND it waits until the traffic is steady, runs the command, and waits until the
    traffic is steady again. It exits 3 if a request broke, else with the command's code.
    """
    options = TrafficOptions(
        get=get or (),
        post=post or (),
        rate=rate,
        connections=connections,
        timeout=timeout,
        headers=header or (),
        uploads=uploads,
        body=body,
        upload_time=upload_time,
        method=method,
        form=form,
        digest=digest,
        read_back=read_back,
        version_header=version_header,
        version_pattern=version_pattern,
    )
    tls = {"ca": ca, "insecure": insecure, "server_name": server_name, "certificate": certificate, "key": key}

    command: list[str] | None = context.obj

    async def work(output: Output) -> int:
        outside = bool(url or config)
        if outside and file:
            raise fail("a URL or --config cannot be combined with --file: the probe of a URL needs no chain")
        if command is not None and (duration or not command):
            raise fail(
                "--duration cannot be combined with a COMMAND, which decides how long to send"
                if command
                else "no COMMAND stands after `--`"
            )
        async with _target(url, config, bool(get or post), tls, file, state or STATE) as target:
            traffic, base = applied(options, target.traffic, target.url if outside else "")
            load = TrafficPlan(base or target.url, traffic, target.tls)
            place = ledger_place(ledger, state if outside else state or STATE)
            files = ReportFiles(report_file, summary)
            if command:
                return await _probe_command(output, load, target, place, (command, steady), files)
            return await _probe(output, load, target, place, duration, files)

    run(json, work)


@asynccontextmanager
async def _target(
    url: str, config: Path | None, paths_given: bool, tls: Mapping[str, object], file: Path | None, state: Path
) -> AsyncIterator[TrafficTarget]:
    if config is not None:
        given = _read(config)
        yield TrafficTarget(url or given.url, given, tls_of(tls, _beside(config, given.tls)), None)
        return
    if url:
        check_address(url)
        yield TrafficTarget(url, ProbeSettings(), tls_of(tls), None)
        return
    found = running(file, state)
    with contextlib.closing(found.journal()) as journal:
        trusted = tls_of({**tls, "ca": tls["ca"] or ("" if tls["insecure"] else str(found.ca_file or ""))})
        yield TrafficTarget(
            edge_url(found), traffic_of(found, paths_given=paths_given), trusted, lambda: tier_state(journal), state
        )


def _read(config: Path) -> ProbeFile:
    try:
        text = config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the probe's file cannot be read: {reason}", where=str(config)) from error
    return read_as(text, str(config), ProbeFile)


def _beside(config: Path, tls: Tls) -> Tls:
    """The settings with the paths of their files from the folder of the probe.yaml."""
    files = {name: str(config.parent / path) for name in ("ca", "certificate", "key") if (path := getattr(tls, name))}
    return tls.model_copy(update=files)


def tier_state(journal: Journal) -> Mapping[str, object]:
    """What the tiers are doing at the moment, for the ledger rows of broken requests."""
    try:
        return journal.tier_state()
    except sqlite3.Error as error:
        return {"unknown": str(error)}


async def _probe(
    output: Output, load: TrafficPlan, target: TrafficTarget, place: LedgerPlace, duration: float, files: ReportFiles
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration:
        loop.call_later(duration, stop.set)
    ledger = place.path
    with place.open(load.planned, output.note) as book:
        async with counting(target.state, output.note) as (saw, tick):

            def progress(now: ProbeProgress) -> None:
                output.note(progress_line(now), "probe")
                tick()

            verdict = await send(
                load, ledger=book, stop=stop, tier_state=target.tier_state, progress=progress, on_row=saw
            )
    written = not files.are_wanted or report_traffic(output, ledger, _without_user(load.url), None, files)
    output.result({**verdict.to_dict(), "command": {}, "ledger": str(ledger)}, report.render(verdict))
    if not verdict.clean:
        return exits.INTERRUPTED
    return exits.DONE if written else exits.COULD_NOT


async def _probe_command(
    output: Output,
    load: TrafficPlan,
    target: TrafficTarget,
    place: LedgerPlace,
    wanted: tuple[list[str], float],
    files: ReportFiles,
) -> int:
    argv, hold = wanted
    watch = SteadyWatch(load, hold, Clock().now())
    probed = ProbedCommand(argv, watch, output.note, as_json=output.as_json)
    stop = asyncio.Event()
    ledger = place.path
    with place.open(load.planned, output.note) as book:
        async with counting(target.state, output.note) as (saw, tick):

            def on_row(row: LedgerRow) -> None:
                probed.saw(row)
                saw(row)

            sending = send(
                load,
                ledger=book,
                stop=stop,
                tier_state=target.tier_state,
                progress=lambda _: tick(),
                on_row=on_row,
            )
            verdict = await probed.under(asyncio.create_task(sending), stop)
    ran = probed.run
    late = [f"The traffic was not steady again: {watch.why()}."] if ran.steady_again is None else []
    written = not files.are_wanted or report_traffic(output, ledger, _without_user(load.url), ran.to_dict(), files)
    text = Group(report.render(verdict), *map(Text, [ran.text, *late, f"ledger: {ledger}"]))
    output.result({**verdict.to_dict(), "command": ran.to_dict(), "ledger": str(ledger)}, text)
    if not verdict.clean:
        return exits.INTERRUPTED
    assert ran.exit_code is not None
    return ran.exit_code or (exits.COULD_NOT if late or not written else exits.DONE)


def _without_user(url: str) -> str:
    """The URL without a user and a password: reports are passed on."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def progress_line(now: ProbeProgress) -> str:
    """`12 s  3,600 GET (p99 8.1 ms)  6 uploads done, 4 in flight (310.2 MB)  0 lost, 0 duplicated, 0 corrupted`."""
    p99 = "" if now.p99 is None else f" (p99 {now.p99:.1f} ms)"
    return (
        f"{now.seconds:4.0f} s  {now.gets:,} GET{p99}  {now.uploads} uploads done, {now.uploading} in flight "
        f"({human_bytes(now.bytes_uploaded)})  {now.lost} lost, {now.duplicated} duplicated, {now.corrupted} corrupted"
    )
