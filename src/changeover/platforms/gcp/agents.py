"""Asks the agent on each VM: readiness, what is in flight, lame duck. It asks the software and the kernel there.

Refuses to send a token to a server that it has not verified where the chain file has `tls`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changeover.kit import http
from changeover.kit.http import TIMEOUT
from changeover.kit.tls import Fault, FollowingContext, TlsFiles, fault
from changeover.model.instance import Instance
from changeover.model.platform import AgentSettings
from changeover.platforms.gcp.answers import FORMAT, MOST_BYTES, document
from changeover.ports import Unknown

if TYPE_CHECKING:
    import ssl

    import httpx

_CURES = {
    Fault.SERVER_CERTIFICATE: "Correct `tls.certificate` in its agent.yaml and restart changeover-agent, or correct "
    "`agent.tls` in the chain file: `ca` has the authority of that certificate, and `name` its name where that is not "
    "the name of the VM.",
    Fault.CLOSED: "Give the controller a valid certificate of `tls.client_ca` in agent.yaml: "
    "`agent.tls.certificate` in the chain file.",
    Fault.NO_TLS: "Set `tls` in its agent.yaml and restart changeover-agent, or remove `agent.tls` in the chain file.",
    Fault.OTHER: "Compare `tls` in its agent.yaml with `agent.tls` in the chain file.",
}
WHOLE = 3
"""Limits of one step (connecting, the head, a part of the body) that a whole answer may take."""
PATIENT = 5.0
"""Seconds for an answer where the controller looks once."""
AGAIN = 1.0
"""Seconds until it asks an agent again that did not answer then."""
AT_ONCE = 64
"""Agents of a tier that are asked at once; more wait, and their time for an answer begins after that."""
_TOKEN = "Give the controller the token of the agents: `agent: {token_env: NAME}` or `token_file` in the chain file."


async def _body(answer: httpx.Response) -> bytes:
    """As much of it as an answer of an agent can have, and a little more of a longer one. Raises HTTPError."""
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > MOST_BYTES:
            break
    return bytes(content)


class NoAnswer(Unknown):
    """An agent did not do what it was asked for. `cure`: what corrects the cause, where that is known."""

    def __init__(self, what: str, cure: str = "") -> None:
        super().__init__(what)
        self.cure = cure


class Agents:
    """The agents of one tier. `client`: for those without TLS."""

    def __init__(self, client: httpx.AsyncClient, settings: AgentSettings) -> None:
        self._client = client
        self._settings = settings
        tls = settings.tls
        self._files = None if tls is None else FollowingContext(TlsFiles(tls.ca, tls.certificate, tls.key))
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._silent_ducks: set[str] = set()
        """Names of the instances that are to be lame ducks, and whose agents have not confirmed it."""
        self._secure: tuple[ssl.SSLContext, httpx.AsyncClient] | None = None

    async def status(self, instance: Instance, timeout: float | None = None) -> Mapping[str, Any]:
        """Its status. Raises Unknown, also where another instance answers at its address.

        A VM that was out of traffic while its agent did not answer must not come back when it does.
        """
        found = self._of(instance, await self._ask("GET", instance, "/v1/status", timeout=timeout))
        if instance.name in self._silent_ducks and found.get("lame_duck") is False:
            await self.lame_duck(instance, True)
        return found

    async def surely(self, instance: Instance) -> Mapping[str, Any]:
        """Its status where the controller looks once: one late answer makes no agent silent. Raises Unknown."""
        try:
            return await self.status(instance, PATIENT)
        except NoAnswer as error:
            if error.cure:
                raise
            await asyncio.sleep(AGAIN)
            return await self.status(instance, PATIENT)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """Raises Unknown where the agent does not confirm it."""
        self._silent_ducks.discard(instance.name)
        if on:
            self._silent_ducks.add(instance.name)
        answer = self._of(instance, await self._ask("PUT", instance, "/v1/lame-duck", json.dumps({"on": on})))
        if answer.get("lame_duck") is not on:
            raise Unknown(f"the agent of {instance.name} did not turn lame duck {'on' if on else 'off'}")
        self._silent_ducks.discard(instance.name)

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
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Unknown(f"the agent of {node.name} answered with another form of the members: {error!r}") from error

    async def _ask(
        self, method: str, instance: Instance, path: str, body: str | None = None, timeout: float | None = None
    ) -> Mapping[str, Any]:
        from httpx import HTTPError

        client, tls = self._client_now(), self._settings.tls
        url = f"http{'s' if tls else ''}://{instance.control}{path}"
        step = TIMEOUT if timeout is None else timeout
        name = {"sni_hostname": tls.name or instance.name} if tls else {}
        try:  # the body as it is: the agent answers with its hash
            async with (
                self._turns,
                asyncio.timeout(WHOLE * step),
                client.stream(
                    method, url, headers=self._headers(), content=body, timeout=step, extensions=name
                ) as answer,
            ):
                content = await _body(answer)
        except TimeoutError as error:
            raise NoAnswer(f"the agent of {instance.name}: {method} {url}: its answer does not end") from error
        except HTTPError as error:
            what, cure = self._why_none(error, step)
            raise NoAnswer(f"the agent of {instance.name}: {method} {url}: {what}", cure) from error
        try:
            found = document(content)
        except ValueError as error:
            code, what = answer.status_code, f"the agent of {instance.name}: {method} {path} was answered with"
            raise Unknown(f"{what} {code if code != 200 else error}") from None
        why, version = found.get("error"), found.get("format", FORMAT)
        if answer.status_code != 200:
            cure = _TOKEN if answer.status_code == 401 else ""
            raise NoAnswer(f"the agent of {instance.name}: {answer.status_code} {why or ''}".rstrip(), cure)
        if version > FORMAT:
            raise Unknown(f"the agent of {instance.name} is of a newer version of changeover than this controller")
        return dict(found)

    def _client_now(self) -> httpx.AsyncClient:
        """With the certificates as they are. It keeps no connection open, so that none has to be closed."""
        if self._files is None:
            return self._client
        try:
            context = self._files.context()
        except ValueError as error:
            raise NoAnswer(f"agent.tls: {error}", "Correct the file, or `agent.tls` in the chain file.") from error
        if self._secure is None or self._secure[0] is not context:
            self._secure = context, http.client(context)
        return self._secure[1]

    def _why_none(self, error: httpx.HTTPError, step: float) -> tuple[str, str]:
        """What happened, and what corrects it. `step`: seconds that each step could take."""
        from httpx import ConnectTimeout, ReadError, RemoteProtocolError, TimeoutException

        tls, what = self._settings.tls, str(error) or type(error).__name__
        if isinstance(error, TimeoutException):
            what = f"no {'connection' if isinstance(error, ConnectTimeout) else 'answer'} within {step:g} s"
        if tls is None:
            if isinstance(error, RemoteProtocolError | ReadError):
                hint = "it closed the connection without a response, as an agent with `tls` does"
                return hint, "If its agent.yaml has `tls`, set `agent: {tls: {ca: FILE}}` in the chain file."
            return what, ""
        if (found := fault(error)) is None:
            return what, ""
        if found[0] is Fault.CLOSED:
            own = "the client certificate" if tls.certificate else "a client without a certificate"
            return f"{found[1]}, as an agent does that refuses {own}", _CURES[Fault.CLOSED]
        return found[1], _CURES[found[0]]

    def _of(self, instance: Instance, status: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status, if it is that of the instance: an address may belong to another VM by now. Raises Unknown."""
        if (name := status.get("name")) != instance.name:
            raise Unknown(f"{instance.control} is answered by the agent of {name}, not of {instance.name}")
        return status

    def _headers(self) -> Mapping[bytes, bytes]:
        token = self._token()
        return {b"Authorization": b"Bearer " + token.encode()} if token else {}

    def _token(self) -> str:
        settings = self._settings
        if settings.token_env is not None:
            if not (token := os.environ.get(settings.token_env, "")):
                raise NoAnswer(
                    f"the variable {settings.token_env}, which is to hold the token of the agents, is not set", _TOKEN
                )
            return token
        if settings.token_file is None:
            return ""
        try:
            return Path(settings.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            what = f"the token of the agents cannot be read from {settings.token_file}: {error}"
            raise NoAnswer(what, _TOKEN) from error
