"""What instances find in their environment, kept in the state folder: `environment.json`, readable by its owner alone.

`up` keeps the base. A template's variables are looked up when it is rolled to, and kept for as long as it runs or can
be returned to: a start by the keeper, by a roll from cron and by an undo gives the same values. Secrets are not kept
but read at each start. A template that an older version started has no record: its instances inherit the environment
of the process that starts them, as they did. Refuses to start a template with a variable that is missing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from changeover.kit import environment, process
from changeover.kit.files import write_whole
from changeover.kit.redact import Redactor
from changeover.model.errors import ChangeoverError, Problem, fail
from changeover.model.instance import LaunchSpec
from changeover.model.process_settings import ProcessSettings, SecretSource
from changeover.ports import CannotStart

FORMAT = 1
FILE = "environment.json"
"""Its key `inherits`: an older version has started the chain, so that some of its templates have no record."""
SECRET_TIMEOUT = 30.0
"""Seconds for the command of a secret."""


@dataclass(frozen=True)
class KeptVariables:
    """What one template was rolled with. `folder`: that of its chain file, where relative paths start."""

    folder: str
    values: Mapping[str, str] = field(repr=False)


class Environments:
    """The environments of one chain. `caller`: the environment of this process."""

    def __init__(self, state: Path, caller: Mapping[str, str] = os.environ) -> None:
        self._file = state / FILE
        self._caller = caller
        self._redactor = Redactor()

    # -- keeping ---------------------------------------------------------------------------------------------------

    def keep(
        self,
        targets: Mapping[str, str],
        settings: Mapping[str, Mapping[str, Any]],
        running: Mapping[str, Collection[str]],
        folder: Path,
        *,
        fresh: bool,
    ) -> list[str]:
        """Look up and keep the variables of templates that are about to run: tier -> template. Raises ChangeoverError.

        `running`: the templates that instances of each tier have. They keep the values that they started with. `fresh`:
        nothing runs yet. Returns what differs between both, one sentence each, without any value.
        """
        before = None if fresh else self._read()
        tiers = {} if before is None else {tier: dict(one) for tier, one in _kept(before).items() if tier in settings}
        base = environment.base(self._caller) if before is None else before["base"]
        notes: list[str] = []
        problems: list[Problem] = []
        for tier, template in targets.items():
            kept = {name: one for name, one in tiers.get(tier, {}).items() if name in settings[tier]}
            tiers[tier] = kept
            given = settings[tier][template]
            declared = given if isinstance(given, ProcessSettings) else ProcessSettings()
            of_tier = running.get(tier, ())
            if template in of_tier:
                notes += self._unlike_kept(tier, template, declared, kept.get(template), folder)
                continue
            others = [kept[name] for name in of_tier if name in kept] + list(kept.values())
            try:
                values = self._look_up(declared, folder, others)
                _read_secrets(declared.secrets, folder, {**base, **values})
                _check_allowed(declared)
            except _Missing as missing:
                where = f"tier {tier}, template {template}"
                problems.append(Problem(str(missing), where, "Nothing was changed.", missing.next))
                continue
            kept[template] = KeptVariables(str(folder), values)
            notes += self._unlike_running(tier, template, declared, kept, of_tier)
        if problems:
            raise ChangeoverError(*problems)
        stored = {
            "format": FORMAT,
            "inherits": not fresh and (before is None or before["inherits"]),
            "base": base,
            "tiers": {
                tier: {name: {"folder": one.folder, "values": dict(one.values)} for name, one in kept.items()}
                for tier, kept in tiers.items()
            },
        }
        write_whole(self._file, json.dumps(stored, indent=1), mode=0o600)
        return notes

    def _look_up(
        self, declared: ProcessSettings, folder: Path, others: Collection[KeptVariables] = ()
    ) -> dict[str, str]:
        """The values of `env_file` and `pass`; of a variable that is not set, the one of another template. Raises
        _Missing."""
        values = dict(_read_file(folder / declared.env_file)) if declared.env_file else {}
        for name in declared.pass_:
            value = self._caller.get(name)
            if value is None:
                value = next((other.values[name] for other in others if name in other.values), None)
            if value is None:
                raise _Missing(
                    f"`pass` names {name}, which is not set here",
                    f"Set {name} and run the command again, or remove it from `pass`.",
                )
            values[name] = value
        return values

    def _unlike_kept(
        self, tier: str, template: str, declared: ProcessSettings, kept: KeptVariables | None, folder: Path
    ) -> Iterator[str]:
        """A running template keeps its values: name those that would be others now."""
        if kept is None:
            return
        try:
            now = self._look_up(declared, folder, [kept])
        except _Missing as missing:
            yield f"tier {tier}: {missing}; instances of {template} keep the values that they started with."
            return
        if other := sorted(name for name in {*now, *kept.values} if now.get(name) != kept.values.get(name)):
            yield (
                f"tier {tier}: {', '.join(other)} changed, and instances of {template} keep the values that they "
                "started with. Give the change a template with a name of its own."
            )

    def _unlike_running(
        self,
        tier: str,
        template: str,
        declared: ProcessSettings,
        kept: Mapping[str, KeptVariables],
        running: Collection[str],
    ) -> Iterator[str]:
        values = kept[template].values
        for name in sorted(running):
            if name not in kept:
                yield (
                    f"tier {tier}: instances of {name} inherited the environment of the command that started them; "
                    f"those of {template} get PATH, HOME, the locale and what their template declares: docs/app.md."
                )
                continue
            before = kept[name].values
            if other := sorted(one for one in {*values} & {*before} if values[one] != before[one]):
                yield f"tier {tier}: {', '.join(other)} changed: {template} gets another value than {name} has."
        absent = [name for name in declared.pass_ if name not in self._caller]
        if absent:
            yield f"tier {tier}: {', '.join(absent)} not set here: {template} gets the value kept from an earlier roll."

    # -- reading ---------------------------------------------------------------------------------------------------

    def base(self) -> dict[str, str]:
        """The environment of everything that is no instance of a command. Raises ChangeoverError."""
        stored = self._read()
        return environment.base(self._caller) if stored is None else dict(stored["base"])

    def folder(self, tier: str, template: str) -> str:
        """The folder of the chain file that the template was rolled from; empty for one of an older version."""
        kept = self._of(tier, template)
        return "" if kept is None else kept.folder

    def of(self, launch: LaunchSpec, tier: str, template: str) -> dict[str, str]:
        """The whole environment of an instance. Reads its secrets. Raises CannotStart."""
        stored, kept = self._read(), self._of(tier, template)
        if kept is None and stored is not None and not stored["inherits"]:
            raise CannotStart(
                f"the variables of template {template} of tier {tier} were not looked up by `up` or `roll`"
            )
        found = dict(self._caller) if kept is None else self.base()
        if launch.user:
            found |= environment.of_user(launch.user)
        own = {**(kept.values if kept else {}), **launch.env}
        try:
            own |= _read_secrets(launch.secrets, Path(kept.folder if kept else "."), {**found, **own})
        except _Missing as missing:
            raise CannotStart(f"{missing}. {missing.next}") from missing
        for value in own.values():
            self._redactor.learn_value(value)
        return {**found, **own}

    def of_keeper(self, chain_file: str) -> dict[str, str]:
        """The base, and the variables that the chain file names, such as `token_env` of a router. Everything while an
        older version's templates may run, as the keeper starts their instances."""
        stored = self._read()
        if stored is None or stored["inherits"]:
            return dict(self._caller)
        words = set(re.findall(r"\w+", chain_file))
        return {**{name: value for name, value in self._caller.items() if name in words}, **self.base()}

    def know(self, templates: Iterable[BaseModel]) -> None:
        """Learn the values that templates declare, for `hide`."""
        for template in templates:
            if isinstance(template, ProcessSettings):
                for word in template.env.values():
                    self._redactor.learn_value(word.get_secret_value())

    def hide(self, text: str) -> str:
        """A text without values of variables: of templates, kept ones, and secrets that this process has read."""
        stored = self._read()
        for kept in (one for tier in ({} if stored is None else _kept(stored)).values() for one in tier.values()):
            for value in kept.values.values():
                self._redactor.learn_value(value)
        return self._redactor(text)

    def _of(self, tier: str, template: str) -> KeptVariables | None:
        stored = self._read()
        return None if stored is None else _kept(stored).get(tier, {}).get(template)

    def _read(self) -> dict[str, Any] | None:
        try:
            stored = json.loads(self._file.read_text(encoding="utf-8"))
            if stored["format"] > FORMAT:
                raise ValueError(f"its format is {stored['format']}, this version reads up to {FORMAT}")
            _kept(stored), dict(stored["base"]), bool(stored["inherits"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise fail(
                f"the kept environment cannot be read: {reason}",
                where=str(self._file),
                state="Nothing was changed; the chain goes on serving.",
                next="Restore the file. Without it, instances inherit the environment of the command that starts them.",
            ) from error
        return dict(stored)


class _Missing(Exception):
    """A variable without a value. `next`: what to do."""

    def __init__(self, what: str, next: str) -> None:
        super().__init__(what)
        self.next = next


def _kept(stored: Mapping[str, Any]) -> dict[str, dict[str, KeptVariables]]:
    return {
        tier: {name: KeptVariables(one["folder"], dict(one["values"])) for name, one in templates.items()}
        for tier, templates in stored["tiers"].items()
    }


def _read_file(file: Path) -> dict[str, str]:
    """Raises _Missing."""
    try:
        return environment.read_variables(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else _without_content(error)
        raise _Missing(f"the env_file {file} cannot be read: {reason}", "Correct the file, or its path.") from error


def _without_content(error: ValueError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)


def _read_secrets(sources: Mapping[str, SecretSource], folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Raises _Missing. Neither the output nor the arguments of a command are part of a message."""
    found = {}
    for name, source in sources.items():
        try:
            content = (folder / source.file).read_bytes() if source.file else _output(source, folder, env)
            found[name] = content.decode().removesuffix("\n").removesuffix("\r")
            if "\0" in found[name]:
                raise ValueError
        except OSError as error:
            raise _missing_secret(name, source, error.strerror or type(error).__name__) from error
        except subprocess.TimeoutExpired as error:
            raise _missing_secret(name, source, f"it did not end within {SECRET_TIMEOUT:.0f} s") from error
        except subprocess.CalledProcessError as error:
            raise _missing_secret(name, source, f"it ended with exit code {error.returncode}") from error
        except ValueError as error:
            raise _missing_secret(name, source, "it is not UTF-8 text") from error
        if not found[name]:
            raise _missing_secret(name, source, "it is empty")
    return found


def _check_allowed(declared: ProcessSettings) -> None:
    """Raises _Missing."""
    try:
        process.check_allowed(process.Ownership(user=declared.user, nofile=declared.limits.nofile))
    except OSError as error:
        raise _Missing(str(error.strerror), "Correct the template, or run changeover as root.") from error


def _missing_secret(name: str, source: SecretSource, reason: str) -> _Missing:
    what = f"its file {source.file}" if source.file else "its command"
    return _Missing(f"secret {name} cannot be read from {what}: {reason}", f"Correct `secrets.{name}`.")


def _output(source: SecretSource, folder: Path, env: Mapping[str, str]) -> bytes:
    return subprocess.run(
        [word.get_secret_value() for word in source.command],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=SECRET_TIMEOUT,
        check=True,
    ).stdout
