"""Hooks and notifications as a chain's author writes them, and what each of them is handed.

Performing them is the business of `engine/hooks.py`. An address may hold a token, so no address is ever part of a
`repr`, and one that stands wrongly in a chain file is not repeated in the message about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema, model_validator

from changeover.model.config_model import ConfigModel
from changeover.model.units import Seconds

FROM_ENVIRONMENT = "env:"
"""An address that begins so is the name of the environment variable that holds it."""
LONGEST_VARIABLE = 4000
"""Characters of a text that go into a command's environment: with more than 128 KiB it could not be run at all."""


class Point(StrEnum):
    """A moment of a rollout at which something may be run, asked or told."""

    BEFORE_TIER = "before_tier"
    AFTER_TIER = "after_tier"
    BEFORE_STEP = "before_step"
    AFTER_STEP = "after_step"
    ON_FAILURE = "on_failure"
    ON_COMPLETION = "on_completion"

    @property
    def can_stop(self) -> bool:
        """Whether a hook that fails here stops what was about to be done."""
        return self in (Point.BEFORE_TIER, Point.BEFORE_STEP)


POINTS: Mapping[Point, str] = MappingProxyType(
    {
        Point.BEFORE_TIER: "A tier is about to move; no instance of it was touched yet.",
        Point.AFTER_TIER: "A tier runs what it was to run, whole. Not when it was undone: that is `on_failure`.",
        Point.BEFORE_STEP: "A step of the strategy is about to be taken. Of blue-green: the switch; the new colour is "
        "complete, and shown at its preview where it has one.",
        Point.AFTER_STEP: "A step was taken, and what it asked for was seen.",
        Point.ON_FAILURE: "A rollout ended without reaching its goal: undone, failed, or stopped by a hook before it.",
        Point.ON_COMPLETION: "A rollout ended, and everything it was to move was moved.",
    }
)
"""When each point is reached."""

_VARIABLE = r"env:[A-Za-z_][A-Za-z0-9_]*"
_HOST = r"(?:[^\s/?#@]*@)?(?:[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_WEB = rf"[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(?:[/?#]\S*)?"
_APPRISE = r"[A-Za-z][A-Za-z0-9+.-]*://\S*"


def _web_address(text: str) -> str:
    if not is_web_address(text) and not re.fullmatch(_VARIABLE, text):
        raise ValueError("an http or https URL is needed, or env:NAME for an environment variable that holds one")
    return text


def is_web_address(text: str) -> bool:
    """Whether a webhook may be asked there."""
    return re.fullmatch(_WEB, text) is not None


def _apprise_address(text: str) -> str:
    if not re.fullmatch(f"{_VARIABLE}|{_APPRISE}", text):
        raise ValueError("an Apprise URL is needed, or env:NAME for an environment variable that holds one")
    return text


def _words(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError("a list of the program and its arguments is needed, such as [./check.sh, --fast]: no shell")
    return given


def _argument(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument of a command cannot hold a NUL character")
    return text


def _written_as(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


Argument = Annotated[str, AfterValidator(_argument)]


class Hook(ConfigModel):
    """Something of yours that is run or asked at a point of a rollout: a command or a webhook, exactly one of them."""

    point: Point = Field(description="When. Hooks of one point run one after another, in the order of the file.")
    name: str = Field(
        "",
        max_length=100,
        description="What messages call it. Without one: the program's name or the webhook's host.",
    )
    command: Annotated[tuple[Argument, ...] | None, BeforeValidator(_words)] = Field(
        None,
        min_length=1,
        repr=False,
        description="A program and its arguments, run without a shell, so that nothing needs quoting. Gets the "
        "payload as JSON on standard input and in the environment; exit code 0 is success.",
    )
    webhook: Annotated[str, AfterValidator(_web_address), _written_as(f"{_VARIABLE}|{_WEB}")] | None = Field(
        None,
        repr=False,
        description="An http or https URL that the payload is POSTed to as JSON; a 2xx answer is success, and "
        "redirects are not followed. `env:NAME` takes it from that environment variable, so that a token need not "
        "stand in the file.",
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        description="For the whole of it, then it counts as failed, and a command is killed with everything it "
        "started. The rollout waits that long: half a minute is much for a question and little for a drain.",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.command is None) == (self.webhook is None):
            raise ValueError("a hook has a command or a webhook, exactly one of them")
        return self


class Notify(ConfigModel):
    """Somebody who is told, through Apprise: chat, mail, pager and some hundred more. Never stops a rollout."""

    url: Annotated[str, AfterValidator(_apprise_address), _written_as(f"{_VARIABLE}|{_APPRISE}")] = Field(
        repr=False,
        description="An Apprise URL, such as slack://… or mailto://…; `env:NAME` takes it from that environment "
        "variable, so that a token need not stand in the file.",
    )
    at: tuple[Point, ...] = Field(
        (Point.ON_FAILURE, Point.ON_COMPLETION),
        min_length=1,
        description="The points at which to tell. By default how a rollout ended: more than that is soon ignored.",
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        description="For one message to be sent, then it is given up. Nothing waits for it but the end of the command.",
    )


@dataclass(frozen=True)
class HookPayload:
    """What a hook is told. Whoever runs hooks fills in `point`, so that one payload serves for several."""

    chain: Annotated[str, Field(description="The chain's name.")]
    rollout: Annotated[int, Field(description="The rollout's number in the journal.")]
    tier: Annotated[str, Field(description="The tier that moves.")]
    came_from: Annotated[
        str, Field(serialization_alias="from", description="The template it ran before; empty when it ran none.")
    ]
    goal: Annotated[str, Field(serialization_alias="to", description="The template it is to run.")]
    at: Annotated[float, Field(description="When, in seconds since the epoch, by the controller's clock.")]
    point: Annotated[
        Point | None,
        Field(description="The point that was reached."),
        WithJsonSchema({"type": "string", "enum": [point.value for point in Point]}),
    ] = None
    step: Annotated[str, Field(description="The step of the strategy, at the points around a step; else empty.")] = ""
    outcome: Annotated[
        Literal["", "completed", "undone", "failed"],
        Field(
            description="How it ended; empty before it has. `undone`: the tier runs `from` again, and everything of "
            "it serves. `failed`: neither."
        ),
    ] = ""
    reason: Annotated[str, Field(description="Why it ended so, in words; empty where there is nothing to explain.")] = (
        ""
    )
    counts: Annotated[
        Mapping[str, int],
        Field(
            description="What was counted up to now, in absolute numbers: instances of the tier by phase, and what "
            "guards counted. A name that is missing was not counted, which is not 0."
        ),
    ] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The payload as it is sent."""
        found: dict[str, Any] = _PAYLOAD.dump_python(self, by_alias=True)
        return found | {"point": None if self.point is None else self.point.value, "counts": dict(self.counts)}

    def json(self) -> bytes:
        """The same as one line of ASCII, whatever characters a reason holds."""
        return json.dumps(self.data()).encode() + b"\n"

    def variables(self) -> dict[str, str]:
        """The same for a command's environment, but for what was counted, and long texts cut short."""
        said = {key: value for key, value in self.data().items() if not isinstance(value, dict)}
        return {variable(key): _fit_for_environment(str(value)) for key, value in said.items()}


def _fit_for_environment(text: str) -> str:
    return text[:LONGEST_VARIABLE].replace("\0", "").encode(errors="replace").decode()


def variable(key: str) -> str:
    """The environment variable that holds that part of the payload."""
    return f"CHANGEOVER_{key.upper()}"


def payload_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of what hooks are handed."""
    schema = _PAYLOAD.json_schema(mode="serialization", by_alias=True)
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)
        part.pop("default", None)
    schema["description"] = "What a hook is told."
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return whole | {"required": list(schema["properties"])}


_PAYLOAD = TypeAdapter(HookPayload)
