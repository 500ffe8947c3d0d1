"""The template of a relay tier. Every default has its reason beside it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from changeover.model.relay_defaults import RELAY
from changeover.model.stop import TemplateSettings
from changeover.model.units import Bytes, Seconds

MIB = 1024 * 1024
RouteText = Annotated[str, Field(pattern=r"^[A-Z]+ /[!-~]*$", examples=["POST /upload"])]
"""A method and a path: requests to it, or below it."""


class RelaySettings(TemplateSettings):
    """A relay in front of an application with resumable uploads; it streams every other request through."""

    segment: tuple[RouteText, ...] = Field(
        description="Routes whose bodies the relay sends inward in segments, such as `POST /upload`. There is no "
        "default: the application must support resumable uploads there. Bodies of less than 64 KiB pass unchanged.",
    )
    replay: tuple[RouteText, ...] = Field(
        (),
        description="Other routes whose requests the relay may repeat at another instance until their body is sent "
        "completely. Only for applications that do nothing before a body is complete.",
    )
    budget: Bytes = Field(
        f"{RELAY.budget // MIB}MiB",
        ge=16 * MIB,
        description="Bytes held and not acknowledged, for all bodies together; beyond it, clients wait. At "
        "most 16 MiB for each upload: enough for 32 at full speed, and for hundreds of slow ones.",
        validate_default=True,
    )
    patience: Seconds = Field(
        RELAY.patience,
        gt=0,
        description="Time without progress inward until the client gets 502, 503 or 504. Longer than a roll or a "
        "repair leaves a tier without a ready instance, and longer than it takes to find several instances in a row "
        "dead in the middle of a response (10 s each); shorter than the response_timeout of the proxies in front.",
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
