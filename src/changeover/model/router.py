"""A router that the chain does not start, in front of one of its tiers: what every kind of it has in common.

Which kinds there are, and what else each of them needs, is data of the hops: `HopTraits.external_router`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from changeover.model.config_model import WRITE_ONLY, ConfigModel
from changeover.model.instance import Address


def _host_port(text: str) -> str:
    Address.parse(text)
    return text


class RouterSettings(ConfigModel):
    """`router` of a tier."""

    kind: str = Field(description="The software.")
    proxy: Annotated[str, AfterValidator(_host_port)] = Field(
        json_schema_extra=WRITE_ONLY,
        description="`host:port` to which requests go: the listener of the router's nodes, or of what is in front.",
    )
