"""`agent.yaml`: what an operator writes for an agent, checked with the messages of a chain file.

Only the command imports this: the process of the agent gets the result as plain values (`config`).
"""

from __future__ import annotations

import socket
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from changeover.agent.config import UNIX, AgentConfig
from changeover.hops.questions import KINDS, questions
from changeover.model.config_model import ConfigModel, Name
from changeover.model.health import HealthQuestion
from changeover.model.instance import Address
from changeover.model.units import Seconds

DEFAULTS = AgentConfig("", 0, "")
File = Annotated[str, Field(pattern=r"^/[^\x00]+$", examples=["/etc/changeover/agent.token"])]
Port = Annotated[int, Field(ge=1, le=65535)]


class AgentTls(ConfigModel):
    """PEM files. Health checks need no certificate; a client with one of `client_ca` needs no token."""

    certificate: File
    key: File
    client_ca: File | Literal[""] = ""


class AgentFile(ConfigModel):
    """One agent beside the software of one tier."""

    kind: Literal[KINDS] = Field(description="The software, as the kind of its tier.")  # type: ignore[valid-type]
    port: Port = Field(description="Where it serves requests: the connections to this port are counted.")
    host: str = Field("", description="The address that it serves requests at; empty: every address of the machine.")
    control: str = Field(
        "",
        description="`HOST:PORT` where it answers readiness and counts: nginx's server with stub_status, Kong's "
        "status_listen, the relay's --admin. Also `unix:PATH`: Envoy's admin, HAProxy's `stats socket` with `level "
        "admin`. An application answers at `port`.",
    )
    name: str = Field(
        "",
        description="In answers and logs. The controller expects the name of the VM. Empty: the name of the machine.",
    )
    health: HealthQuestion = Field(
        HealthQuestion(),
        description="Where and what it answers while it can take traffic: `path`; of an application also `status`, "
        "`headers`, `body` or `tcp: true`, as `health` of a tier.",
    )
    counts_at: str = Field(
        "",
        description="nginx: the path of stub_status. An application or a relay: the path of its count. Envoy: the "
        "stat_prefix of its listener for clients. Empty: the usual one; an application then counts nothing itself.",
    )
    timeout: Seconds = Field(DEFAULTS.timeout, gt=0, le=5, description="For an answer of the software.")
    listen: str = Field(DEFAULTS.listen, description="`HOST:PORT` of the agent.")
    lame_duck_file: File = Field(
        DEFAULTS.lame_duck_file,
        description="Exists while the instance must get no new requests. Software that watches such a file must watch "
        "this one. It must outlive the agent and end with the machine, as files in /run do.",
    )
    token_file: File | Literal[""] = Field("", description="Holds the token of control calls. Read at each call.")
    token_env: str = Field("", description="The variable that holds it instead.")
    tls: AgentTls | None = Field(None, description="Serve HTTPS, health checks included.")
    members: dict[Name, File] = Field(
        {}, description="Of an Envoy: tier behind it -> the file of its cluster's members, written by the controller."
    )
    metadata: bool = Field(True, description="Watch Google's metadata server for preemption and stops.")

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        asked = questions(self.kind)
        if self.control.startswith(UNIX):
            if not asked.takes_sockets or not self.control.removeprefix(UNIX).startswith("/"):
                raise ValueError(f"control: a {self.kind} is asked at HOST:PORT, not at {self.control}")
        elif self.control:
            _address("control", self.control)
        elif asked.own_control:
            raise ValueError(f"control is missing: where the {self.kind} answers readiness, such as 127.0.0.1:8081")
        _address("listen", self.listen)
        if self.kind != "app" and (more := sorted(self.health.model_fields_set - {"path"})):
            raise ValueError(f"health.{more[0]}: only an application is asked this; of a {self.kind} give the path")
        if not asked.asked_by_path:
            for key in ("health", "counts_at"):
                if key in self.model_fields_set:
                    raise ValueError(f"{key}: the agent asks the runtime API of {self.kind}, which has no paths")
        if self.members and self.kind != "envoy":
            raise ValueError("members: only an envoy reads the members of the tier behind it from a file")
        if not (self.token_file or self.token_env or (self.tls and self.tls.client_ca)):
            raise ValueError("control calls need token_file, token_env, or tls with client_ca")
        return self

    def options(self) -> dict[str, Any]:
        """As `AgentConfig` takes them."""
        given = {**self.model_dump(exclude={"tls", "health"}), **self.health.model_dump()}
        encryption = self.tls.model_dump() if self.tls else {}
        name = self.name or socket.gethostname().partition(".")[0]  # as the group names its VM
        return {**given, **encryption, "name": name, "control": self.control or f"{_asked_at(self.host)}:{self.port}"}


def _asked_at(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0", "::") else host


def _address(key: str, text: str) -> None:
    try:
        Address.parse(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error
