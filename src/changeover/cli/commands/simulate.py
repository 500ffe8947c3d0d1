"""`changeover simulate`: how a rollout would go, with instances and traffic that exist in virtual time alone."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from math import inf
from random import Random
from statistics import fmean
from typing import Annotated, Any, Literal

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from changeover import wiring
from changeover.cli import exits
from changeover.cli.commands.probe import seconds
from changeover.cli.options.common import FileOption, JsonOption, StateOption, chain_file, run, wired
from changeover.cli.options.distributions import RATE, SIZE, TIME
from changeover.cli.rendering.output import Output
from changeover.engine.runtime import rollout_settings
from changeover.model.chain import Chain, Strategy, Tier
from changeover.model.errors import fail
from changeover.model.units import Count, human_seconds
from changeover.ports import CanWeigh, Router
from changeover.rollout.invariants import Violation
from changeover.rollout.simulation.distributions import Load, Spread
from changeover.rollout.simulation.simulate import Result, SimulatedTier, Simulation
from changeover.rollout.tier.state import RolloutSettings

USUAL = SimulatedTier()
QUIET = 2.0
"""Seconds without a word, after which a terminal is shown how far it is."""
AT_A_TIME = 2000
"""Happenings between two moments in which Ctrl-C is heard and progress shown."""
_COUNT: TypeAdapter[int | str] = TypeAdapter(Count)


def count(text: str) -> int | str:
    """`1` or `25%`. Raises typer.BadParameter."""
    try:
        return _COUNT.validate_python(int(text) if text.isdigit() else text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error


def _count(help: str) -> Any:
    return typer.Option(parser=count, metavar="COUNT", help=help, show_default="the chain file's")


def _time(help: str, shown: str = "the chain file's") -> Any:
    return typer.Option(parser=seconds, metavar="TIME", help=help, show_default=shown)


def simulate(
    tier: Annotated[str, typer.Argument(help="The tier to roll. Without it: every tier, the last one first.")] = "",
    file: FileOption = None,
    size: Annotated[int | None, typer.Option(min=1, help="Instances.", show_default="the chain file's")] = None,
    strategy: Annotated[
        Strategy | None, typer.Option(help="How it is rolled.", show_default="the chain file's")
    ] = None,
    surge: Annotated[Any, _count("Instances above size.")] = None,
    unavailable: Annotated[Any, _count("Instances that may be missing from size.")] = None,
    min_ready: Annotated[float | None, _time("How long an instance must be ready before it gets traffic.")] = None,
    progress_deadline: Annotated[
        float | None, _time("An instance that does not serve by then is replaced, or the rollout undone.")
    ] = None,
    drain_deadline: Annotated[float | None, _time("How long a drain may take.")] = None,
    policy: Annotated[
        Literal["wait", "cut"] | None,
        typer.Option(help="At the drain deadline.", show_default="the chain file's"),
    ] = None,
    uploads_per_second: Annotated[float, typer.Option(min=0, help="That come to each instance.")] = USUAL.uploads.rate,
    upload_size: Annotated[Spread, SIZE.option(USUAL.uploads.work, "Bytes of an upload.")] = USUAL.uploads.work,
    client_rate: Annotated[Spread, RATE.option(USUAL.uploads.pace, "How fast it comes.")] = USUAL.uploads.pace,
    requests_per_second: Annotated[
        float, typer.Option(min=0, help="Other requests that come to each instance.")
    ] = USUAL.requests.rate,
    request_time: Annotated[
        Spread,
        TIME.option(USUAL.requests.work, "How long one takes. For a tier drained by connections: how long one lives."),
    ] = USUAL.requests.work,
    start_time: Annotated[Spread, TIME.option(USUAL.start, "From creating an instance until ready.")] = USUAL.start,
    start_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Share of starts that fail, such as 0.01.")
    ] = USUAL.start_failures,
    failures: Annotated[float, _time("Mean time between failures of one instance, such as 720h.", "never")] = 0.0,
    confirm_time: Annotated[
        Spread, TIME.option(USUAL.confirm, "Until every router has confirmed a change.")
    ] = USUAL.confirm,
    stop_time: Annotated[Spread, TIME.option(USUAL.stop, "From the stop signal until it is gone.")] = USUAL.stop,
    verdict_time: Annotated[
        Spread,
        TIME.option(USUAL.verdict, "Until a guard passes, or somebody promotes, a canary step that waits for it."),
    ] = USUAL.verdict,
    look: Annotated[float, _time("Between two looks of the engine.", human_seconds(USUAL.look))] = USUAL.look,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Rollouts to simulate of each tier; figures are means.")] = 1,
    state: StateOption = wiring.STATE,
    json: JsonOption = False,
) -> None:
    """Simulate a rollout: how long, how many instances at most, what would be cut. Nothing real is touched.

    What varies is given as X (always), LOW..HIGH (evenly) or MEDIAN~FACTOR (two thirds within that factor of it).

    Exits 1 if it would not complete, or would cut something.
    """
    if not look:
        raise typer.BadParameter("a time above 0 is needed", param_hint="--look")
    world = SimulatedTier(
        start=start_time,
        start_failures=start_failures,
        lifetime=failures or inf,
        confirm=confirm_time,
        stop=stop_time,
        verdict=verdict_time,
        look=look,
        uploads=Load(uploads_per_second, upload_size, client_rate),
        requests=Load(requests_per_second, request_time),
    )
    change = Change(
        size,
        {
            "strategy": strategy,
            "max_surge": surge,
            "max_unavailable": unavailable,
            "min_ready": min_ready,
            "progress_deadline": progress_deadline,
        },
        {"deadline": drain_deadline, "policy": policy},
    )

    async def work(output: Output) -> int:
        async with wired(chain_file(file, state), state) as found:
            routers = found.world.routers
            fleets = [rules(change.of(one), routers[one.name]) for one in _asked(found.chain, tier)]
        done = [Done(fleet, await _rollouts(output, fleet, world, seed, runs)) for fleet in fleets]
        output.result(data(done, world, seed), picture(done, world, seed))
        return exits.DONE if all(one.clean for one in done) else exits.ROLLED_BACK

    run(json, work)


# -- what is asked ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What the command line says differently from the chain file; None: as the file says."""

    size: int | None
    update: dict[str, Any]
    drain: dict[str, Any]

    def of(self, tier: Tier) -> Tier:
        """The tier with it. It may be larger than a chain file allows: nothing of it is going to run."""
        update, drain = _given(self.update), _given(self.drain)
        return tier.model_copy(
            update={
                "size": self.size or tier.size,
                "update": tier.update.model_copy(update=update),
                "drain": tier.drain.model_copy(update=drain),
            }
        )


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _asked(chain: Chain, name: str) -> Sequence[Tier]:
    if not name:
        return chain.inside_out
    if (tier := chain.tier(name)) is None:
        names = ", ".join(one.name for one in chain.tiers)
        raise fail(f"there is no tier {name}", next=f"The tiers of this chain are: {names}.")
    return (tier,)


def rules(tier: Tier, router: Router) -> RolloutSettings:
    """What the machine goes by. Raises ChangeoverError where nothing could ever be replaced."""
    if not (tier.surge or tier.unavailable):
        raise fail(
            f"surge and unavailable are both 0 instances of {tier.size}: nothing could ever be replaced",
            where=tier.name,
            next="Give --surge 1 or more.",
        )
    return rollout_settings(tier, weighed=isinstance(router, CanWeigh))


# -- doing it --------------------------------------------------------------------------------------------------------


async def _rollouts(
    output: Output, fleet: RolloutSettings, world: SimulatedTier, seed: int, runs: int
) -> tuple[Result, ...]:
    found = []
    with _no_collector(), ExitStack() as shown:
        status, began = None, time.monotonic()
        for number in range(runs):
            simulation = _start(fleet, world, seed, number)
            while not simulation.finished:
                _go_on(simulation, fleet, seed)
                if status is None and output.err.is_terminal and time.monotonic() - began > QUIET:
                    status = shown.enter_context(output.err.status(""))
                if status is not None:
                    status.update(_progress(simulation, fleet, number, runs))
                await asyncio.sleep(0)
            found.append(simulation.result())
    return tuple(found)


def _start(fleet: RolloutSettings, world: SimulatedTier, seed: int, number: int) -> Simulation:
    return Simulation(fleet, world, Random(f"{seed} {fleet.tier} {number}"))


def _go_on(simulation: Simulation, fleet: RolloutSettings, seed: int) -> None:
    try:
        simulation.run(AT_A_TIME)
    except Violation as broken:
        raise fail(
            f"the core broke a rule of its own: {broken}",
            where=fleet.tier,
            state="This was a simulation: nothing real was touched.",
            next=f"Please report it with the whole command line and --seed {seed}.",
        ) from broken


def _progress(simulation: Simulation, fleet: RolloutSettings, number: int, runs: int) -> str:
    which = f" ({number + 1} of {runs})" if runs > 1 else ""
    return (
        f"{fleet.tier}{which}: {simulation.replaced:,} of {fleet.size:,} replaced after "
        f"{human_seconds(round(simulation.now))}"
    )


@contextmanager
def _no_collector() -> Iterator[None]:
    """A fleet holds no cycles; looking for some would make a step of a large fleet cost twice that of a small one."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# -- what came of it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """All simulated rollouts of one tier."""

    rules: RolloutSettings
    results: tuple[Result, ...]

    @property
    def clean(self) -> bool:
        """Every one completed, and none cut anything."""
        return all(r.outcome == "completed" and not r.cut_uploads and not r.cut_requests for r in self.results)

    @property
    def completed(self) -> int:
        return sum(r.outcome == "completed" for r in self.results)

    def mean(self, figure: str) -> float | None:
        """Of those rollouts that have the figure; None where none has."""
        values = [value for r in self.results if (value := getattr(r, figure)) is not None]
        return fmean(values) if values else None

    @property
    def reason(self) -> str:
        """Why one did not complete; empty when all did."""
        return next((f"{r.outcome}: {r.reason}" for r in self.results if r.outcome != "completed"), "")


_MEANS = (
    "seconds",
    "floor",
    "ratio",
    "cut_uploads",
    "cut_requests",
    "lost_uploads",
    "lost_requests",
    "failures",
    "healed",
    "steps",
)


def data(done: Sequence[Done], world: SimulatedTier, seed: int) -> dict[str, Any]:
    """As `simulate --json` prints it. Times in seconds; `peak` and `fewest` are extremes over all runs, else means."""
    return {
        "seed": seed,
        "assumed": assumed(world),
        "tiers": [
            {
                **asdict(one.rules),
                "runs": len(one.results),
                "completed": one.completed,
                "reason": one.reason or None,
                **{name: _rounded(one.mean(name)) for name in _MEANS},
                "shortest": _rounded(min(r.seconds for r in one.results)),
                "longest": _rounded(max(r.seconds for r in one.results)),
                "peak": max(r.peak for r in one.results),
                "fewest": min(r.fewest for r in one.results),
            }
            for one in done
        ],
        "seconds": _rounded(_together(done)),
        "clean": all(one.clean for one in done),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else int(value) if value == int(value) else round(value, 3)


def _together(done: Sequence[Done]) -> float | None:
    """Seconds for all tiers one after the other; None when one does not complete."""
    if any(one.completed < len(one.results) for one in done):
        return None
    return sum(one.mean("seconds") or 0.0 for one in done)


def assumed(world: SimulatedTier) -> dict[str, str | float]:
    """The simulated world, spelled as on the command line."""
    return {
        "uploads-per-second": world.uploads.rate,
        "upload-size": SIZE.spell(world.uploads.work),
        "client-rate": RATE.spell(world.uploads.pace),
        "requests-per-second": world.requests.rate,
        "request-time": TIME.spell(world.requests.work),
        "start-time": TIME.spell(world.start),
        "start-failures": world.start_failures,
        "failures": "0s" if world.lifetime == inf else human_seconds(world.lifetime),
        "confirm-time": TIME.spell(world.confirm),
        "stop-time": TIME.spell(world.stop),
        "verdict-time": TIME.spell(world.verdict),
        "look": human_seconds(world.look),
    }


def picture(done: Sequence[Done], world: SimulatedTier, seed: int) -> Group:
    """The same for people."""
    table = Table("", *(one.rules.tier for one in done))
    for title, figure in _ROWS.items():
        table.add_row(title, *map(figure, done))
    said = [Text(f"{one.rules.tier} {one.reason}", style="yellow") for one in done if one.reason]
    if len(done) > 1 and (seconds := _together(done)) is not None:
        said.append(Text(f"One tier after the other: {_duration(seconds)}"))
    world_text = "  ".join(f"--{name} {value}" for name, value in assumed(world).items())
    return Group(table, *said, Text(f"Assumed: {world_text}  --seed {seed}", style="dim"))


def _takes(one: Done) -> str:
    text = _duration(one.mean("seconds"))
    if len(one.results) > 1:
        every = [r.seconds for r in one.results]
        text += f" ({_duration(min(every))} to {_duration(max(every))})"
    return text


def _duration(value: float | None) -> str:
    return "-" if value is None else human_seconds(round(value, 1) if value < 60 else round(value))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def _ratio(one: Done) -> str:
    ratio = one.mean("ratio")
    return "-" if ratio is None else f"{ratio:.2f}"


def _instances(one: Done) -> str:
    less = f" - {one.rules.unavailable:,}" if one.rules.unavailable else ""
    more = one.rules.size if one.rules.strategy == "blue-green" else one.rules.surge
    return f"{one.rules.size:,} + {more:,}{less}"


_ROWS: dict[str, Callable[[Done], str]] = {
    "strategy": lambda one: one.rules.strategy,
    "instances + surge": _instances,
    "takes": _takes,
    "floor": lambda one: _duration(one.mean("floor")),
    "ratio to the floor": _ratio,
    "instances at most": lambda one: f"{max(r.peak for r in one.results):,}",
    "serving at least": lambda one: f"{min(r.fewest for r in one.results):,}",
    "uploads cut": lambda one: _figure(one.mean("cut_uploads")),
    "requests cut": lambda one: _figure(one.mean("cut_requests")),
    "instances failed": lambda one: _figure(one.mean("failures")),
    "of these healed": lambda one: _figure(one.mean("healed")),
    "requests lost by that": lambda one: _figure((one.mean("lost_uploads") or 0) + (one.mean("lost_requests") or 0)),
    "steps": lambda one: _figure(one.mean("steps")),
}
