"""`changeover simulate`: a rollout of simulated instances under simulated traffic, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Annotated, Any, Literal

import typer

from changeover.cli import exits
from changeover.cli.chains import chain_file
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.distributions import RATE, SIZE, TIME
from changeover.cli.options.values import count, seconds
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.simulation import SimulatedRollouts, data, picture
from changeover.engine.runtime import rollout_settings
from changeover.model.chain import Chain, Tier
from changeover.model.errors import fail
from changeover.model.guard import Guard
from changeover.model.units import human_seconds
from changeover.model.update import Strategy
from changeover.ports import CanWeigh, Router
from changeover.rollout.invariants import Violation
from changeover.rollout.simulation.distributions import Distribution, TrafficModel
from changeover.rollout.simulation.model import SimulatedTier, SimulationResult
from changeover.rollout.simulation.simulate import Simulation
from changeover.rollout.tier.settings import RolloutSettings
from changeover.wiring import wire

USUAL = SimulatedTier()
PROGRESS_AFTER = 2.0
"""Seconds after which a terminal shows the progress."""
EVENTS_PER_TURN = 2000
"""Simulated events between two checks for Ctrl-C and two updates of the progress."""


def _count(help: str) -> Any:
    return typer.Option(parser=count, metavar="COUNT", help=help, show_default="the chain file's")


def _time(help: str, shown: str = "the chain file's") -> Any:
    return typer.Option(parser=seconds, metavar="TIME", help=help, show_default=shown)


def simulate(
    tier: Annotated[str, typer.Argument(help="The tier to roll. Default: every tier, from the inside out.")] = "",
    file: FileOption = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Instances of the tier.", show_default="the chain file's")
    ] = None,
    strategy: Annotated[
        Strategy | None, typer.Option(help="The strategy of the rollout.", show_default="the chain file's")
    ] = None,
    surge: Annotated[Any, _count("Instances above size.")] = None,
    unavailable: Annotated[Any, _count("Instances that may be missing below size.")] = None,
    min_ready: Annotated[float | None, _time("How long an instance must be ready before it gets traffic.")] = None,
    progress_deadline: Annotated[
        float | None, _time("Time after which an instance that is not ready is replaced, or the rollout undone.")
    ] = None,
    drain_deadline: Annotated[float | None, _time("Longest time for a drain.")] = None,
    policy: Annotated[
        Literal["wait", "cut"] | None,
        typer.Option(help="What happens at the drain deadline.", show_default="the chain file's"),
    ] = None,
    uploads_per_second: Annotated[
        float, typer.Option(min=0, help="New uploads per second at each instance.")
    ] = USUAL.uploads.rate,
    upload_size: Annotated[Distribution, SIZE.option(USUAL.uploads.work, "Size of an upload.")] = USUAL.uploads.work,
    client_rate: Annotated[
        Distribution, RATE.option(USUAL.uploads.pace, "Rate at which a client sends an upload.")
    ] = USUAL.uploads.pace,
    requests_per_second: Annotated[
        float, typer.Option(min=0, help="Other requests per second at each instance.")
    ] = USUAL.requests.rate,
    request_time: Annotated[
        Distribution,
        TIME.option(
            USUAL.requests.work,
            "Duration of such a request; for a tier drained by connections, the lifetime of a connection.",
        ),
    ] = USUAL.requests.work,
    start_time: Annotated[
        Distribution, TIME.option(USUAL.start, "Time from creating an instance until it is ready.")
    ] = USUAL.start,
    start_failures: Annotated[
        float, typer.Option(min=0, max=1, help="Share of starts that fail, such as 0.01.")
    ] = USUAL.start_failures,
    failures: Annotated[float, _time("Mean time between failures of one instance, such as 720h.", "never")] = 0.0,
    confirm_time: Annotated[
        Distribution, TIME.option(USUAL.confirm, "Time until every router has confirmed a change.")
    ] = USUAL.confirm,
    stop_time: Annotated[
        Distribution, TIME.option(USUAL.stop, "Time from the stop signal until the instance has exited.")
    ] = USUAL.stop,
    verdict_time: Annotated[
        Distribution,
        TIME.option(USUAL.verdict, "Time until a guard or an operator passes a canary step."),
    ] = USUAL.verdict,
    look: Annotated[
        float, _time("Interval at which the controller observes the chain.", human_seconds(USUAL.look))
    ] = USUAL.look,
    seed: Annotated[int, typer.Option(help="The same seed gives the same result.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Simulated rollouts of each tier; the figures are means.")] = 1,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Simulate a rollout in virtual time: duration, instances, uploads that it cuts. Touches no instance.

    A value that varies is given as X (constant), LOW..HIGH (uniform) or MEDIAN~FACTOR (log-normal: two thirds of the
    values are within that factor of the median).

    Exits 1 if the rollout would not complete or would cut a request.
    """
    if not look:
        raise typer.BadParameter("the time must be above 0", param_hint="--look")
    simulated = SimulatedTier(
        start=start_time,
        start_failures=start_failures,
        lifetime=failures or inf,
        confirm=confirm_time,
        stop=stop_time,
        verdict=verdict_time,
        look=look,
        uploads=TrafficModel(uploads_per_second, upload_size, client_rate),
        requests=TrafficModel(requests_per_second, request_time),
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
        found = wire(chain_file(file, state), state)
        runtime = found.runtime
        fleets = [
            rules(change.of(one), runtime.routers[one.name], runtime.guards_of(one.name))
            for one in _asked(found.chain, tier)
        ]
        done = [SimulatedRollouts(fleet, await _rollouts(output, fleet, simulated, seed, runs)) for fleet in fleets]
        output.result(data(done, simulated, seed), picture(done, simulated, seed))
        return exits.DONE if all(one.clean for one in done) else exits.ROLLED_BACK

    run(json, work)


@dataclass(frozen=True)
class Change:
    """What the command line overrides in the chain file; None keeps the file's value."""

    size: int | None
    update: dict[str, Any]
    drain: dict[str, Any]

    def of(self, tier: Tier) -> Tier:
        """The tier with these overrides. It may be larger than a chain file allows, because it does not run."""
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
        raise fail(f"there is no tier {name}", next=f"Tiers: {names}.")
    return (tier,)


def rules(tier: Tier, router: Router, guards: Collection[Guard] = ()) -> RolloutSettings:
    """The settings of the rollout. Raises ChangeoverError if they allow no replacement."""
    if not (tier.surge or tier.unavailable):
        raise fail(
            f"surge and unavailable are both 0 instances of {tier.size}, so that no instance can be replaced",
            where=tier.name,
            next="Give --surge 1 or more.",
        )
    return rollout_settings(tier, weighed=isinstance(router, CanWeigh), guards=guards)


async def _rollouts(
    output: Output, fleet: RolloutSettings, simulated: SimulatedTier, seed: int, runs: int
) -> tuple[SimulationResult, ...]:
    found = []
    with _no_collector(), ExitStack() as shown:
        status, began = None, time.monotonic()
        for number in range(runs):
            simulation = _start(fleet, simulated, seed, number)
            while not simulation.finished:
                _go_on(simulation, fleet, seed)
                if status is None and output.is_live and time.monotonic() - began > PROGRESS_AFTER:
                    status = shown.enter_context(output.err.status(""))
                if status is not None:
                    status.update(_progress(simulation, fleet, number, runs))
                await asyncio.sleep(0)
            found.append(simulation.result())
    return tuple(found)


def _start(fleet: RolloutSettings, simulated: SimulatedTier, seed: int, number: int) -> Simulation:
    return Simulation(fleet, simulated, Random(f"{seed} {fleet.tier} {number}"))


def _go_on(simulation: Simulation, fleet: RolloutSettings, seed: int) -> None:
    try:
        simulation.run(EVENTS_PER_TURN)
    except Violation as broken:
        raise fail(
            f"the rollout broke an invariant: {broken}",
            where=fleet.tier,
            state="This was a simulation. No instance was touched.",
            next=f"Please report it with the command line and --seed {seed}.",
        ) from broken


def _progress(simulation: Simulation, fleet: RolloutSettings, number: int, runs: int) -> str:
    which = f" ({number + 1} of {runs})" if runs > 1 else ""
    return (
        f"{fleet.tier}{which}: {simulation.replaced:,} of {fleet.size:,} replaced after "
        f"{human_seconds(round(simulation.now))}"
    )


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the garbage collector: a fleet holds no cycles, and each search for some costs time in its size."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
