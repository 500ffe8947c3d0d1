"""`router` of a tier that stands behind an HAProxy outside of the chain. Every default has its reason beside it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from changeover.model.instance import Address
from changeover.model.router import RouterSettings


def _node(text: str) -> str:
    if not text.startswith("/"):
        try:
            Address.parse(text)
        except ValueError as error:
            raise ValueError("an absolute path or an address is needed, such as /run/haproxy/admin.sock") from error
    return text


def _options(text: str) -> str:
    words = text.split()
    if re.search(r"[;\n\r\\#]", text):
        raise ValueError("options stand on one line of HAProxy's runtime API: no `;`, `#`, backslash or line break")
    if own := sorted({"check", "addr", "port", "inter", "rise", "fall", "weight", "disabled"} & set(words)):
        raise ValueError(f"`{own[0]}` is set by the controller, from `health` and the weight of the instance")
    if "on-marked-down" in words:
        raise ValueError("`on-marked-down` would end the requests of every instance that leaves")
    if {"agent-check", "track"} & set(words):
        raise ValueError("an agent or another server would change what the controller sets")
    return text


Node = Annotated[str, AfterValidator(_node)]
HaproxyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")]


class ExternalHaproxy(RouterSettings):
    """An HAProxy in front of this tier that the chain does not start: docs/haproxy.md."""

    kind: Literal["haproxy"] = Field(description="The software.")
    nodes: tuple[Node, ...] = Field(
        min_length=1,
        examples=[["/run/haproxy/admin.sock", "10.0.0.8:9999"]],
        description="The runtime API of every node, with `level admin`: the path of its Unix socket, or `host:port`. A "
        "change is confirmed when each node itself reports it.",
    )
    backend: HaproxyName | None = Field(None, description="Its backend. Default: the tier's name.")
    slots: HaproxyName | None = Field(
        None,
        description="Servers of the configuration that instances are put into: this name and a number, as "
        "`server-template NAME 1-8 …` makes them. They belong to the chain. By default the controller adds a server "
        "for each instance (`add server`, HAProxy 2.6 and newer).",
    )
    server: Annotated[str, AfterValidator(_options)] = Field(
        "",
        examples=["maxconn 200"],
        description="Without `slots`: further options of each server that is added, as on a `server` line. Such a "
        "server takes nothing from `default-server`.",
    )
    state_files: tuple[Annotated[str, Field(pattern="^/")], ...] = Field(
        (),
        description="With `slots`: the file of each node, in the order of `nodes`, that its backend loads its servers "
        "from (`server-state-file-name`). The controller writes it after each change, so that a reload loses none.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.nodes)) < len(self.nodes):
            raise ValueError("`nodes` has an address twice")
        if self.slots is not None and self.server:
            raise ValueError("`server` is for servers that are added; the configuration has the options of `slots`")
        if self.state_files and (self.slots is None or len(self.state_files) != len(self.nodes)):
            raise ValueError("`state_files` needs `slots`, and one file for each of `nodes`")
        return self
