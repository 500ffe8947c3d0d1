"""Asks the agent on each VM: readiness, what is in flight, lame duck. It asks the software and the kernel there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changeover.model.connections import Connection, Connections
from changeover.model.instance import InFlight, Instance, Upload
from changeover.model.platform import AgentSettings
from changeover.ports import Unknown

if TYPE_CHECKING:
    import httpx

FORMAT = 1
"""Of the status, the newest that this version reads."""


class Agents:
    """The agents of one tier."""

    def __init__(self, client: httpx.AsyncClient, settings: AgentSettings) -> None:
        self._client = client
        self._settings = settings

    async def status(self, instance: Instance, timeout: float | None = None) -> Mapping[str, Any]:
        """Its status. Raises Unknown, also where another instance answers at its address."""
        return self._of(instance, await self._ask("GET", instance, "/v1/status", timeout=timeout))

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Raises Unknown where the agent does not confirm it."""
        answer = self._of(instance, await self._ask("PUT", instance, "/v1/lame-duck", json.dumps({"on": on})))
        if answer.get("lame_duck") is not on:
            raise Unknown(f"the agent of {instance.name} did not turn lame duck {'on' if on else 'off'}")

    async def write_members(self, node: Instance, tier: str, text: str) -> None:
        """Have it keep this list of the members of a tier behind. Raises Unknown."""
        await self._ask("PUT", node, f"/v1/members/{tier}", text)

    async def members(self, node: Instance, tier: str) -> tuple[str, dict[str, tuple[bool, int]]]:
        """The SHA-256 of its list, and what its node does with each member. Raises Unknown."""
        found = await self._ask("GET", node, f"/v1/members/{tier}")
        try:
            members = {
                name: (one["gets_traffic"] is True, int(one["weight"])) for name, one in found["members"].items()
            }
            return str(found["sha256"]), members
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Unknown(f"the agent of {node.name} answered with another form of the members: {error!r}") from error

    async def _ask(
        self, method: str, instance: Instance, path: str, body: str | None = None, timeout: float | None = None
    ) -> Mapping[str, Any]:
        from httpx import HTTPError

        url = f"http://{instance.control}{path}"
        limit = self._client.timeout if timeout is None else timeout
        try:  # the body as it is: the agent answers with its hash
            answer = await self._client.request(method, url, headers=self._headers(), content=body, timeout=limit)
        except HTTPError as error:
            what = f"{method} {url}: {str(error) or type(error).__name__}"
            raise Unknown(f"the agent of {instance.name}: {what}") from error
        try:
            found = answer.json()
            why, version = found.get("error"), found.get("format", 0)
        except (ValueError, AttributeError):
            raise Unknown(
                f"the agent of {instance.name}: {method} {path} was answered with {answer.status_code}"
            ) from None
        if answer.status_code != 200:
            raise Unknown(f"the agent of {instance.name}: {answer.status_code} {why or ''}".rstrip())
        if version > FORMAT:
            raise Unknown(f"the agent of {instance.name} is of a newer version of changeover than this controller")
        return dict(found)

    def _of(self, instance: Instance, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status, if it is that of the instance: an address may belong to another VM by now. Raises Unknown."""
        if (name := status.get("name")) != instance.name:
            raise Unknown(f"{instance.control} is answered by the agent of {name}, not of {instance.name}")
        return status

    def _headers(self) -> Mapping[str, str]:
        token = self._token()
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _token(self) -> str:
        settings = self._settings
        if settings.token_env is not None:
            if not (token := os.environ.get(settings.token_env, "")):
                raise Unknown(
                    f"the variable {settings.token_env}, which is to hold the token of the agents, is not set"
                )
            return token
        if settings.token_file is None:
            return ""
        try:
            return Path(settings.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Unknown(f"the token of the agents cannot be read from {settings.token_file}: {error}") from error


def connections_of(status: Mapping[str, Any]) -> Connections | None:
    """The connections that the kernel of the VM shows; None where it shows none, or the form is another one."""
    found = (status.get("witnesses") or {}).get("kernel")
    if found is None:
        return None
    try:
        routed = tuple(
            Connection(one["quiet"], one["answered"], inf if one["age"] is None else one["age"])
            for one in found["connections"]
        )
        return Connections(routed, dict(found["others"]), found["waiting"], found["one_process"])
    except (KeyError, TypeError, ValueError):
        return None


def in_flight_of(name: str, status: Mapping[str, Any]) -> InFlight | None:
    """What the agent counted; None where nothing counts it. Raises Unknown."""
    if (why := status.get("unknown")) is not None:
        raise Unknown(f"the agent of {name}: {why}")
    if (found := status.get("in_flight")) is None:
        return None
    try:
        uploads = tuple(Upload(one["received"], one["expected"], one["seconds"]) for one in found.get("uploads", ()))
        return InFlight(found["requests"], found["connections"], uploads)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unknown(f"the agent of {name} answered with another form of what is in flight: {error!r}") from error
