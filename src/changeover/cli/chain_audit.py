"""The audit of a chain as it is about to run: what its templates render to, their commands and their stops.

It names what would be cut, and refuses nothing: a chain may accept it. The stops of a tier are judged where its policy
is `cut` and its deadline is short. Otherwise nothing is in flight on an instance that is stopped, whatever its limits.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, Judged, audit
from changeover.audit.finding import Outcome, Severity
from changeover.audit.view import View
from changeover.cli.options.targets import running_template
from changeover.cli.rendering.audit import finding_data, unreadable_data
from changeover.cli.rendering.output import Output
from changeover.conf.chain import read as read_chain
from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.registry import GUNICORN, NGINX, reader_of
from changeover.conf.source import decode
from changeover.conf.systemd import Entry, UnitFile
from changeover.engine.journal.journal import Journal
from changeover.hops.envoy.member_list import EnvoyEndpoint, endpoints
from changeover.model.chain import Tier
from changeover.model.instance import Address, LaunchSpec
from changeover.model.revision import template_of
from changeover.model.stop import Stop
from changeover.ports import CannotStart, LaunchContext
from changeover.wiring import Wired

ASSUMED = Assumptions(behind="clients", drained=True, reloads=False)
"""The controller takes an instance out of every router before it stops it, and reloads none. Nothing stands in front
of the first tier but a balancer of TCP."""
OF_STOPS = frozenset(
    ("APP01", "APP03", "APP06", "ENV01", "HAP01", "KNG01", "KNG02", "KNG08", "NGX01", "NGX02", "NGX03", "STR01")
)
"""Rules about what a stop cuts."""
_CHAIN = "chain file"
_HOST = "127.0.0.1"
_FIRST_PORT = 10_001
"""Nothing listens there: an address joins a tier to the one in front."""


@dataclass(frozen=True)
class ChainAudit:
    """`judged` without what is accepted or does not apply to the chain. `unreadable`: files that are not judged."""

    judged: tuple[Judged, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def data(self) -> dict[str, Any]:
        shown = [one for one in self.judged if one.finding.outcome is not Outcome.MET]
        return {
            "findings": [finding_data(one) for one in shown],
            "unreadable": [unreadable_data(one) for one in self.unreadable],
        }

    def warnings(self) -> list[str]:
        """A line for each file that is not judged, and for each violation from a warning on."""
        return [
            *(f"Warning: {one.place}: what it would cut is not known: {one.what}" for one in self.unreadable),
            *self._violations(),
        ]

    def _violations(self) -> list[str]:
        return [
            f"Warning: {one.finding.place}: {one.finding.what}: {one.finding.consequence}  [{one.rule.id}]"
            for one in self.judged
            if one.finding.outcome is Outcome.VIOLATED and one.rule.severity is not Severity.NOTE
        ]

    def note(self, output: Output) -> None:
        for line in self.warnings():
            output.note(line)


NOTHING_STARTED = ChainAudit()


def audit_chain(found: Wired, templates: Mapping[str, str]) -> ChainAudit:
    """`templates`: tier -> the template that it is about to run. On Google Cloud `doctor` does this with the VMs."""
    if found.local is None:
        return ChainAudit()
    ports = {tier.name: _FIRST_PORT + number for number, tier in enumerate(found.chain.tiers)}
    documents: list[Document] = [*read_chain(found.text, _CHAIN)]
    texts = {_CHAIN: found.text}
    owners: dict[str, Tier] = {}
    unreadable: list[Unreadable] = []
    with TemporaryDirectory() as folder:
        certificates = found.local.certificates(Path(folder))
        for tier in found.chain.tiers:
            template = template_of(templates[tier.name])
            context = _joined(found.local.stand_in(tier, template, Path(folder), certificates), ports)
            try:
                launch = found.local.launch(context)
            except CannotStart:
                continue  # the command itself checks that, and gives the reason
            launch, settings = _with_settings(f"{tier.name}/{template}", launch, found.runtime.folder)
            own, unit = _texts(template, context, launch, ports), _unit(found, tier, template, launch)
            own |= _decoded(settings, unreadable)
            owners |= dict.fromkeys([unit.file, *own], tier)
            texts |= own
            documents += [unit, *_read(tier, own, unreadable)]
    return ChainAudit(tuple(_applying(audit(documents, ASSUMED, texts), owners)), tuple(unreadable))


def audit_targets(found: Wired, journal: Journal, targets: Mapping[str, str]) -> ChainAudit:
    """The chain with the tiers in `targets` at those templates, and the others at what they run."""
    return audit_chain(
        found, {tier.name: running_template(journal, tier) for tier in found.chain.tiers} | dict(targets)
    )


def _joined(context: LaunchContext, ports: Mapping[str, int]) -> LaunchContext:
    """With addresses by which the tiers can be joined."""
    name = context.tier.name
    address, control = Address(_HOST, ports[name]), Address(_HOST, ports[name] + len(ports))
    behind = tuple(
        one if one.address is None else replace(one, address=Address(_HOST, ports[one.tier.name]))
        for one in context.behind
    )
    return replace(context, instance=replace(context.instance, address=address, control=control), behind=behind)


def _texts(template: str, context: LaunchContext, launch: LaunchSpec, ports: Mapping[str, int]) -> dict[str, str]:
    """The files of an instance, by the names that `render --output` gives them, and the lists of its members."""
    tier = context.tier
    texts = {
        f"{tier.name}/{template}/{path}": text
        for path, text in launch.files.items()
        if path in launch.argv or path not in launch.check  # a copy for the check alone
    }
    for inner in (one for one in context.behind if one.address is None):
        member = Address(_HOST, ports[inner.tier.name])
        listed = endpoints(inner.tier.name, {"one": EnvoyEndpoint(member, member, 1)})
        texts[f"{tier.name}/{template}/members/{inner.tier.name}.json"] = listed
    return texts


def _with_settings(name: str, launch: LaunchSpec, folder: Path) -> tuple[LaunchSpec, dict[str, Path]]:
    """A command of gunicorn with the name that its settings have in the audit, and where they are.

    Without `-c` gunicorn reads gunicorn.conf.py of its working directory. `folder`: that of the chain file.
    """
    at = next((number for number, word in enumerate(launch.argv, 1) if PurePath(word).name == "gunicorn"), 0)
    words, given = list(launch.argv[at:]), ""
    for number, word in enumerate(words):
        if word in {"-c", "--config"} or word.startswith("--config="):
            given = word.partition("=")[2] or "".join(words[number + 1 : number + 2])
            del words[number : number + (1 if "=" in word else 2)]
            break
    path = Path(folder, launch.cwd, given or "gunicorn.conf.py")
    if not at or not path.is_file():
        return launch, {}  # settings that are named and not there make their rules unknown
    file = f"{name}/{path.name}"
    return replace(launch, argv=(*launch.argv[:at], "-c", file, *words)), {file: path}


def _decoded(files: Mapping[str, Path], unreadable: list[Unreadable]) -> dict[str, str]:
    found = {}
    for file, path in files.items():
        try:
            found[file] = decode(path.read_bytes(), file)
        except OSError as error:
            unreadable.append(Unreadable(error.strerror or "it cannot be read", Place(file)))
        except Unreadable as error:
            unreadable.append(error)
    return found


def _read(tier: Tier, texts: Mapping[str, str], unreadable: list[Unreadable]) -> Iterator[Document]:
    for name, text in texts.items():
        known = GUNICORN if tier.kind == "app" and name.endswith(".py") else reader_of(text, name)
        reader = known or (NGINX if tier.kind.startswith("nginx") else None)
        if reader is not None:
            try:
                yield from reader.read(text, name)
            except Unreadable as error:
                if known is not None:  # else it may be a certificate, or a file that nginx does not include
                    unreadable.append(error)


def _unit(found: Wired, tier: Tier, template: str, launch: LaunchSpec) -> UnitFile:
    """To the audit, a template is what a unit of systemd is: a command, a signal, a time until SIGKILL."""
    file = f"tier {tier.name}, template {template}"
    stop = getattr(found.settings[tier.name][template], "stop", None) or Stop()
    signal = stop.signal or found.runtime.hops[tier.name].traits.stop_signal.name.removeprefix("SIG")
    values = {
        "ExecStart": shlex.join(launch.argv),
        "KillSignal": signal,
        "TimeoutStopSec": f"{stop.grace or tier.drain.deadline:g}s",
    }
    return UnitFile(file, tuple(Entry("Service", key, value, Place(file)) for key, value in values.items()))


def _applying(found: Audit, owners: Mapping[str, Tier]) -> Iterator[Judged]:
    """What is not accepted, and is true of this chain. A finding of the chain file names its tier instead of a line:

    the text is the copy that the state keeps. `owners`: file -> the tier that it is of.
    """
    cutting = {tier.name for tier in owners.values() if _cuts(tier, found.view, owners)}
    for one in found.judged:
        place, tier = one.finding.place, owners.get(one.finding.place.file)
        if one.suppressed is not None:
            continue
        if one.rule.id in OF_STOPS and (tier is None or tier.name not in cutting or _is_deadline(one, tier)):
            continue
        if place.file != _CHAIN:
            yield one
        elif one.finding.outcome is not Outcome.VIOLATED or one.finding.object.removeprefix("tier ") in cutting:
            yield replace(one, finding=replace(one.finding, place=Place(one.finding.object)))


def _is_deadline(found: Judged, tier: Tier) -> bool:
    """Whether its limit is the deadline of the drain, which changeover writes into a stop too. CHN03 names that one."""
    return found.finding.numbers.get("limit_seconds") == tier.drain.deadline


def _cuts(tier: Tier, view: View, owners: Mapping[str, Tier]) -> bool:
    """Whether the largest upload may be in flight on an instance of the tier when it is stopped."""
    hops = [hop for hop in view.hops if owners.get(hop.place.file) == tier]
    buffered = bool(hops) and all(map(view.buffered, hops))
    need = ASSUMED.buffered_seconds if buffered else ASSUMED.request_seconds
    return tier.drain.policy == "cut" and tier.drain.deadline < need
