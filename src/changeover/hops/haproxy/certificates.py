"""The certificates of a running HAProxy: it takes renewed ones at its runtime API, and keeps every connection.

HAProxy itself lists the files that it has loaded, so this holds for a configuration of the user's own, too. Refuses
files that are no certificate with a key, such as those of a CA.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.hops.certificate_files import CertificateFiles
from changeover.kit.certificates import sha1_of
from changeover.model.instance import Instance


class Certificates:
    """What each instance has loaded, by the file's name as HAProxy knows it."""

    def __init__(self) -> None:
        self._files = CertificateFiles()
        self._loaded: dict[tuple[str, int | None], dict[str, str]] = {}

    async def renew(self, instance: Instance, api: RuntimeApi, now: float) -> Sequence[str]:
        """Replace what changed on the disk; returns what was done or refused, each in words. Raises Unknown."""
        key = instance.name, instance.pid
        if key not in self._loaded:
            self._loaded[key] = dict.fromkeys(_names(await api.ask("show ssl cert")), "")
        reports: list[str] = []
        for name, loaded in self._loaded[key].items():
            pem, fault = self._files.usable(_files(Path(instance.directory, name)), now)
            if fault:
                reports.append(fault)
            if not pem or pem == loaded:
                continue
            if loaded or not await _serves(api, name, pem):
                refusal = await _replace(api, name, pem)
                reports.append(refusal or f"serves the renewed certificate {name} to new connections")
            self._loaded[key][name] = pem
        return reports


def _word(name: str) -> str:
    """A path as one word of a command."""
    return re.sub(r"([\\ ;])", r"\\\1", name)


def _names(answer: str) -> list[str]:
    """The files in an answer to `show ssl cert`; none of an HAProxy that does not know this question."""
    return [line for line in answer.splitlines() if line and line[0] not in "#*"] if answer.startswith("#") else []


def _files(certificate: Path) -> tuple[Path, ...]:
    """With the file beside it that has the key, if it is there."""
    key = Path(f"{certificate}.key")
    return (certificate, key) if key.exists() else (certificate,)


async def _serves(api: RuntimeApi, name: str, pem: str) -> bool:
    answer = (await api.ask(f"show ssl cert {_word(name)}")).lower()
    return f"fingerprint: {sha1_of(pem)}" in answer


async def _replace(api: RuntimeApi, name: str, pem: str) -> str:
    """Returns why HAProxy refuses it, and then the earlier one serves on; empty: it serves. Raises Unknown."""
    lines = "\n".join(line for line in pem.splitlines() if line.strip())  # an empty one ends it
    answer = await api.ask(f"set ssl cert {_word(name)} <<\n{lines}\n")
    if answer.startswith("Transaction created"):
        answer = await api.ask(f"commit ssl cert {_word(name)}")
        if "Success!" in answer:
            return ""
        await api.ask(f"abort ssl cert {_word(name)}")
    cause = " ".join(answer.split()) or "no answer, as where it is larger than tune.bufsize"
    return (
        f"HAProxy refuses the renewed certificate {name}: {cause}. The earlier one serves on. A roll with --restart "
        "starts instances with the renewed one"
    )
