"""`router` of a tier that stands behind an Envoy outside of the chain. Every default has its reason beside it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from changeover.model.instance import Address
from changeover.model.router import RouterSettings


def _address(text: str) -> str:
    if not text.startswith("/"):
        Address.parse(text)
    return text


File = Annotated[str, Field(pattern=r"^/.*\.(json|yaml|yml)$", examples=["/etc/envoy/endpoints/runtime.json"])]
"""A file, from the root: the keeper has another working directory than the operator. Envoy reads it by its ending."""


class ExternalEnvoy(RouterSettings):
    """An Envoy in front of this tier that the chain does not start: docs/envoy.md."""

    kind: Literal["envoy"] = Field(description="The software.")
    endpoints: tuple[File, ...] = Field(
        min_length=1,
        description="The file with the endpoints of the cluster (EDS) that Envoy watches: one for all nodes, or one "
        "for each. The controller replaces it by renaming another one, alone in its folder or not.",
    )
    admin: tuple[Annotated[str, AfterValidator(_address)], ...] = Field(
        min_length=1,
        examples=[["10.0.0.7:9901"]],
        description="The admin interface of every node, `host:port` or the path of its Unix socket: a change is "
        "confirmed when each node itself reports it.",
    )
    cluster: str | None = Field(None, min_length=1, description="Its cluster. Default: the tier's name.")
    service: str | None = Field(
        None, min_length=1, description="`service_name` in the `eds_cluster_config` of that cluster, if it has one."
    )

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        for key, values in (("endpoints", self.endpoints), ("admin", self.admin)):
            if len(set(values)) < len(values):
                raise ValueError(f"`{key}` has an entry twice")
        return self
