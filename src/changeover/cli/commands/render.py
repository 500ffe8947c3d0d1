"""`changeover render`: a Kong in front of a tier, files of tiers, units of a host or an agent, or Terraform."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.text import Text

from changeover import chain_files, wiring
from changeover.agent import unit
from changeover.audit.assumptions import Assumptions
from changeover.cli import exits, systemd_units
from changeover.cli.chains import as_it_runs, chain_file
from changeover.cli.commands.agent import read_settings
from changeover.cli.frame import run, run_synchronous
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.values import size
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.stdout import write
from changeover.cli.terraform import configuration
from changeover.cli.terraform.tiers import cloud_tiers
from changeover.engine.lifecycle import LifecycleTiming
from changeover.hops import registry
from changeover.kit.files import write_whole
from changeover.model.errors import fail
from changeover.model.platform import PlatformSettings
from changeover.model.stop import TemplateSettings
from changeover.ports import Serving
from changeover.rollout.members.phases import Phase
from changeover.wiring import wire


def render(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="What to configure: kong, systemd, agent, gcp, or a kind of tier with files, as nginx."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", help="Of a kind with files: write those of each template to TIER/TEMPLATE below this folder."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Of an agent: its agent.yaml.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Of an agent: a key of agent.yaml, such as port=80. Of gcp: TIER.KEY=VALUE. Repeatable.",
        ),
    ] = None,
    upload_size: Annotated[
        float | None,
        typer.Option(parser=size, metavar="SIZE", help="Of gcp: the largest body that clients send. Default: 50MB."),
    ] = None,
    client_rate: Annotated[
        float | None,
        typer.Option(metavar="BITS", help="Of gcp: bits per second of the slowest client. Default: 1000000.", min=1),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Of gcp, for a chain of this machine: the project.")] = None,
    region: Annotated[
        str | None, typer.Option(help="Of gcp, for a chain of this machine: the region of regional groups.")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(help="Of gcp, for a chain of this machine: the zone of zonal groups.")
    ] = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Print a configuration: Kong's, files of tiers, systemd units, or Terraform for Google Cloud.

    kong: the declarative configuration for decK and `POST /config`, with services, routes, upstreams, targets and
    health checks of every tier whose router is a Kong, or of the last tier in a chain without a Kong. The targets are
    the instances that serve at the moment; there are none while the chain is down.

    envoy, haproxy, as routers outside of the chain: a bootstrap with a listener and a cluster, or a backend, for every
    tier whose router is one, or for the last tier.

    nginx, nginx-stream, haproxy, haproxy-tcp, envoy: the files that an instance of each template would get, and what is
    added to a configuration of your own. With --output, the software can check them.

    systemd: the units of a production host, for the chain and for its keeper, as the user that runs this. With
    --output, they are written into that folder.

    agent: agent.yaml, its systemd unit, and the lines of a startup script of Google Cloud that install both and fetch
    the token. It needs no chain file.

    gcp: the whole chain as a Terraform configuration for Google Cloud: groups, agents, health checks, load balancers
    that drain for the largest upload of the slowest client, firewall rules. With --output, main.tf in that folder.
    """
    if kind == "agent":
        run_synchronous(json, lambda out: _render_agent(out, config, set_ or []))
    if config is not None:
        raise typer.BadParameter("--config is for `render agent`")
    place = {"project": project, "region": region, "zone": zone}
    load = {"--upload-size": upload_size, "--client-rate": client_rate}
    if kind == "gcp":
        run_synchronous(
            json, lambda out: _render_gcp(out, file, state, output, set_ or [], place, upload_size, client_rate)
        )
    if set_:
        raise typer.BadParameter("--set is for `render agent` and `render gcp`")
    if given := [
        key for key, value in {**load, **{f"--{key}": value for key, value in place.items()}}.items() if value
    ]:
        raise typer.BadParameter(f"{given[0]} is for `render gcp`")
    if kind == "systemd":
        run_synchronous(json, lambda out: _render_systemd(out, file, state, output))
    run(json, lambda out: _render(out, kind, file, state, output, json))


def _render_systemd(output: Output, file: Path | None, state: Path, folder: Path | None) -> int:
    source = chain_file(file, state).resolve()
    parsed, _ = chain_files.read_chain(source)
    chain, timing = parsed.chain, LifecycleTiming()
    if chain.platform.kind != "local":
        raise fail(
            "a chain on Google Cloud has no processes here and no keeper: its groups replace VMs that die",
            state="Nothing was written.",
            next="A unit for the agent of each VM: `changeover render agent`. After the controller's machine ended: "
            "`changeover resume`.",
        )
    graces = [max(timing.stop, *map(_grace, of.values())) for of in parsed.settings.values()]
    deadlines = [tier.update.progress_deadline for tier in chain.tiers]
    host = systemd_units.Host(
        chain=chain.name,
        user=pwd.getpwuid(os.geteuid()).pw_name,
        command=(sys.executable, "-m", "changeover"),
        file=source,
        state=state.resolve(),
        starts=2 * max(timing.admission, *deadlines) + systemd_units.SPARE,
        stops=sum(graces) + systemd_units.SPARE,
        after=sorted({f"{router.kind}.service" for router in parsed.routers.values()}),
    )
    units = systemd_units.units(host)
    if folder is not None:
        for name, text in units.items():
            write_whole(folder / name, text)
    names = " ".join(units)
    shown = [f"# /etc/systemd/system/{name}\n{text}" for name, text in units.items()]
    output.result(units, Text("\n".join([*shown, f"# systemctl daemon-reload && systemctl enable --now {names}"])))
    return exits.DONE


def _grace(template: Any) -> float:
    """Seconds that `down` gives an instance of that template, where it names any."""
    stop = template.stop if isinstance(template, TemplateSettings) else None
    return (stop.grace if stop else None) or 0.0


async def _render(output: Output, kind: str, file: Path | None, state: Path, folder: Path | None, json: bool) -> int:
    parsed, _ = chain_files.read_chain(chain_file(file, state))
    routes = any(router.kind == kind for router in parsed.routers.values())
    has_tiers = any(tier.kind == kind for tier in parsed.chain.tiers)
    renderers = wiring.renderers()
    if kind in wiring.configurable() and (folder is not None or kind not in renderers or (has_tiers and not routes)):
        return await _render_files(output, kind, file, state, folder)
    if (hop := renderers.get(kind)) is None:
        known = ", ".join(sorted({*renderers, *wiring.configurable()}))
        raise fail(f"there is nothing to render for {kind}", next=f"There is: {known}.")
    found = hop.render(parsed, registry.known_hops(), await _serving(state))
    if json:
        output.result({"configuration": found} if isinstance(found, str) else found, "")
    elif isinstance(found, str):
        write(found)
    else:
        write(yaml.safe_dump(found, sort_keys=False))
    return exits.DONE


def _render_agent(output: Output, config: Path | None, given: list[str]) -> int:
    settings = read_settings(config, given)
    found = {
        "agent.yaml": unit.config_text(settings),
        "changeover-agent.service": unit.unit(settings),
        "startup-script": unit.startup_lines(settings, metadata.version("changeover")),
    }
    output.result(found, Text("\n".join(f"# {name}\n{text}" for name, text in found.items())))
    return exits.DONE


def _render_gcp(
    output: Output,
    file: Path | None,
    state: Path,
    folder: Path | None,
    given: list[str],
    place: Mapping[str, str | None],
    upload_size: float | None,
    client_rate: float | None,
) -> int:
    parsed, _ = chain_files.read_chain(chain_file(file, state))
    platform = parsed.chain.platform
    if platform.kind == "gcp" and (named := [key for key, value in place.items() if value]):
        raise fail(f"--{named[0]} is for a chain of this machine", next="This chain file names its platform.")
    if platform.kind == "local":
        platform = _platform(place)
    assert platform.project is not None
    where = configuration.Place(
        platform.project, platform.region or (platform.zone or "").rpartition("-")[0], platform.zone
    )
    usual = Assumptions()
    load = replace(usual, upload=int(upload_size or usual.upload), client_rate=client_rate or usual.client_rate)
    tiers = cloud_tiers(parsed, given, zonal=platform.zone is not None)
    text = configuration.configuration(parsed.chain.name, where, tiers, load, metadata.version("changeover"))
    if folder is not None:
        write_whole(folder / "main.tf", text)
    if folder is not None or output.as_json:
        output.result({"main.tf": text}, f"written to {folder}/main.tf")
    else:
        write(text)
    return exits.DONE


def _platform(place: Mapping[str, str | None]) -> PlatformSettings:
    """The platform that the options name. Raises ChangeoverError."""
    try:
        return PlatformSettings.model_validate({"kind": "gcp", **{key: value for key, value in place.items() if value}})
    except ValidationError as error:
        found = error.errors()[0]
        option = f"--{found['loc'][0]}: " if found["loc"] else ""
        raise fail(
            f"{option}{found['msg'].removeprefix('Value error, ')}",
            next="The chain file is of this machine: give --project, and --region or --zone.",
        ) from error


async def _render_files(output: Output, kind: str, file: Path | None, state: Path, folder: Path | None) -> int:
    data: dict[str, Any] = {}
    text: list[str] = []
    found = wire(chain_file(file, state), state)
    certificates = found.state / "tls" if folder is None else found.this_machine().certificates(folder.resolve())
    for tier in (tier for tier in found.chain.tiers if tier.kind == kind):
        for template in tier.templates:
            home = (folder or found.state / "instances").resolve() / tier.name / template
            launch = found.rendered(tier, template, home, certificates)
            changes = found.changes({tier.name: template}).get(tier.name, ())
            data.setdefault(tier.name, {})[template] = {"changes": list(changes), "files": dict(launch.files)}
            text += [f"# template {template} of tier {tier.name}", *(f"# Added: {one}" for one in changes)]
            if folder is None:
                text += [f"\n# configuration file {path}:\n{body}" for path, body in launch.files.items()]
            else:
                for path, body in launch.files.items():
                    write_whole(home / path, body)
                text.append(f"cd {home} && {' '.join(launch.check)}")
    if not data:
        raise fail(f"the chain has no tier of kind {kind}")
    output.result(data, Text("\n".join(text)))
    return exits.DONE


async def _serving(state: Path) -> Serving:
    """The instances that serve, if the chain is up."""
    found = as_it_runs(state)
    if found is None:
        return {}
    with contextlib.closing(found.journal()) as journal:
        if not journal.is_up():
            return {}
        return {
            tier.name: {
                member.name: (instance.address, member.weight)
                for member in journal.fleet(tier.name).where(Phase.ADMITTED)
                if (instance := found.platform.recorded(member.name)) is not None
            }
            for tier in found.chain.tiers
        }
