"""What a template of a relay tier may say. Every default has its reason beside it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from changeover.model.config_model import ConfigModel
from changeover.model.relay_defaults import RELAY
from changeover.model.units import Bytes, Seconds

MIB = 1024 * 1024
Route = Annotated[str, Field(pattern=r"^[A-Z]+ /[!-~]*$", examples=["POST /upload"])]
"""A method and a path: requests to it, or below it."""


class RelaySettings(ConfigModel):
    """A relay in front of an application that speaks of resuming uploads; everything else is streamed through."""

    segment: tuple[Route, ...] = Field(
        description="Routes whose bodies are handed inward in segments, such as `POST /upload`. There is no default: "
        "what stands behind must speak the protocol there. Bodies of less than 64 KiB go through as they are.",
    )
    replay: tuple[Route, ...] = Field(
        (),
        description="Other routes whose requests may be sent to another instance while their body has not been sent "
        "completely. Only for applications that do nothing before a body is whole; so none, unless told.",
    )
    budget: Bytes = Field(
        f"{RELAY.budget // MIB}MiB",
        ge=16 * MIB,
        description="Bytes held and not acknowledged, for all bodies together; beyond it clients are made to wait. At "
        "most 16 MiB for each upload: enough for 32 at full speed, and for hundreds of slow ones.",
        validate_default=True,
    )
    patience: Seconds = Field(
        RELAY.patience,
        gt=0,
        description="Time without progress inward until a client is told that it cannot be done. Longer than any roll "
        "or healing leaves a tier without a ready instance, and than some applications in a row take to be found dead "
        "in the midst of their answer (10 s each); shorter than the response_timeout of the proxies in front.",
    )
    keepalive_time: Seconds = Field(
        RELAY.connection_life,
        gt=0,
        description="Age at which a connection inward is not used again: it bounds the drain of every proxy behind. A "
        "new one costs a round trip, and carries megabytes.",
    )
    keepalive_timeout: Seconds = Field(
        RELAY.connection_idle,
        gt=0,
        description="Idle time after which it is closed; below that of every server behind.",
    )
