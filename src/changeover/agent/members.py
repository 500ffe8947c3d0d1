"""The member lists of the tiers behind an Envoy: the controller writes them, Envoy reads them, its /clusters confirms.

Refuses to count an Envoy without a member behind it as ready: it would answer every request with 503.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from changeover.hops.envoy import member_list, questions
from changeover.kit.direct_http import DirectClient
from changeover.kit.files import write_whole
from changeover.model.instance import Instance
from changeover.ports import Unknown

LARGEST = 4 * 1024 * 1024
"""Bytes of a list: more than ten thousand members."""


class Members:
    """`files`: tier behind -> its file, whose cluster in Envoy has the name of the tier."""

    def __init__(self, files: Mapping[str, Path], client: DirectClient, envoy: Instance) -> None:
        self._files = files
        self._client = client
        self._envoy = envoy

    def __contains__(self, tier: str) -> bool:
        return tier in self._files

    def open(self) -> None:
        """Write an empty list where there is none: Envoy does not start without. Raises OSError."""
        for tier, file in self._files.items():
            if not file.exists():
                write_whole(file, member_list.endpoints(tier, {}))

    @property
    def missing(self) -> str:
        """The first tier without a member, in words: this Envoy would answer 503. Empty: every tier has some."""
        for tier, file in self._files.items():
            try:
                if not member_list.members(file.read_bytes()):
                    return f"no member of {tier} has been written to {file} yet"
            except (OSError, ValueError) as error:
                return f"the members of {tier} cannot be read from {file}: {error}"
        return ""

    def write(self, tier: str, content: bytes) -> None:
        """Raises ValueError where the content is no list of that tier's members; Unknown where it was not written."""
        text = content.decode()
        member_list.members(text)
        if (named := json.loads(text)["resources"][0].get("cluster_name")) != tier:
            raise ValueError(f"it lists the members of {named!r}, and not of {tier}")
        try:
            write_whole(self._files[tier], text)
        except OSError as error:
            raise Unknown(f"{self._files[tier]} could not be written: {error.strerror or error}") from error

    def hashes(self) -> dict[str, str | None]:
        """Tier -> SHA-256 of its file; None where it cannot be read."""
        return {tier: _hash(file) for tier, file in self._files.items()}

    async def confirmed(self, tier: str) -> dict[str, Any]:
        """The hash of the file, and what Envoy does with each member at this moment. Raises Unknown."""
        hosts = await questions.hosts(self._client, self._envoy, tier)
        listed = {name: {"gets_traffic": gets, "weight": weight} for name, (gets, weight) in hosts.items()}
        return {"sha256": _hash(self._files[tier]), "members": listed}


def _hash(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None
