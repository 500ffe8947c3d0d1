"""Hooks and notifications of a chain file, and the payload that they receive.

`engine/hooks/` performs them. An address may contain a token, so a `repr` never shows one, and the message about an
invalid address does not repeat it.
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

from changeover.model.config_model import WRITE_ONLY, ConfigModel
from changeover.model.units import Seconds

FROM_ENVIRONMENT = "env:"
"""Prefix of an address that names the environment variable with the address."""
LONGEST_VARIABLE = 4000
"""Most characters of a text in a command's environment: Linux starts no command with a variable over 128 KiB."""


class Point(StrEnum):
    """A moment of a rollout at which hooks run and notifications are sent."""

    BEFORE_TIER = "before_tier"
    AFTER_TIER = "after_tier"
    BEFORE_STEP = "before_step"
    AFTER_STEP = "after_step"
    ON_FAILURE = "on_failure"
    ON_COMPLETION = "on_completion"
    ON_CRASH_LOOP = "on_crash_loop"

    @property
    def can_stop(self) -> bool:
        """Whether a failing hook stops the rollout before the next action."""
        return self in (Point.BEFORE_TIER, Point.BEFORE_STEP)


POINTS: Mapping[Point, str] = MappingProxyType(
    {
        Point.BEFORE_TIER: "The controller is about to roll a tier and has not changed any instance of it.",
        Point.AFTER_TIER: "The tier runs its target template completely. An undone tier reaches `on_failure` instead.",
        Point.BEFORE_STEP: "The controller is about to take a step of the strategy. Blue-green: the switch, when the "
        "new instances are complete and reachable at the preview address, if there is one.",
        Point.AFTER_STEP: "A step is complete, and the controller has observed its effect.",
        Point.ON_FAILURE: "The rollout ended without reaching its target: undone, failed, or stopped by a hook.",
        Point.ON_COMPLETION: "The rollout ended, and every tier of it reached its target.",
        Point.ON_CRASH_LOOP: "Outside of a rollout, instances of a tier die or do not start, again and again. Reached "
        "once, until an instance stays. The keeper runs its hooks; on Google Cloud, where none stays behind, the "
        "command that rolls another tier, while it rolls.",
    }
)
"""When each point is reached."""

_VARIABLE = r"env:[A-Za-z_][A-Za-z0-9_]*"
_HOST = r"(?:[^\s/?#@]*@)?(?:[^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
_WEB = rf"[Hh][Tt][Tt][Pp][Ss]?://{_HOST}(?:[/?#]\S*)?"
_PAGE = r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#@]+(?:/[^\s?#]*)?"
_APPRISE = r"[A-Za-z][A-Za-z0-9+.-]*://\S*"


def _web_address(text: str) -> str:
    if not is_web_address(text) and not re.fullmatch(_VARIABLE, text):
        raise ValueError("an http or https URL is needed, or env:NAME for an environment variable that holds one")
    return text


def is_web_address(text: str) -> bool:
    """Whether the text is a valid address of a webhook."""
    return re.fullmatch(_WEB, text) is not None


def _apprise_address(text: str) -> str:
    if not re.fullmatch(f"{_VARIABLE}|{_APPRISE}", text):
        raise ValueError("an Apprise URL is needed, or env:NAME for an environment variable that holds one")
    return text


def _words(given: Any) -> Any:
    if isinstance(given, str):
        raise ValueError(
            "a list of the program and its arguments is needed, such as [./check.sh, --fast]; no shell runs it"
        )
    return given


def _argument(text: str) -> str:
    if "\0" in text:
        raise ValueError("an argument of a command cannot contain a NUL character")
    return text


def _written_as(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


Argument = Annotated[str, AfterValidator(_argument)]


def _page(text: str) -> str:
    if not re.fullmatch(_PAGE, text):
        raise ValueError("the http or https URL of a page is needed, such as https://ops.example.com/chains/1")
    page = text.rstrip("/")
    return page if re.search(r"/chains/[1-9][0-9]*$", page) else f"{page}/chains/1"


PageUrl = Annotated[str, AfterValidator(_page), _written_as(_PAGE)]


def page_of(page: str | None, rollout: int) -> str:
    """The URL of a rollout on the chain's page, which shows the last one for 0; empty without a page."""
    return "" if page is None else f"{page}?rollout={rollout}" if rollout else page


def report_on(page: str, rollout: int) -> str:
    """The URL of the report of a rollout."""
    return f"{page}/rollouts/{rollout}/report"


class Hook(ConfigModel):
    """A command or a webhook that the controller runs at a point of a rollout."""

    point: Point = Field(
        description="When the hook runs. Hooks of one point run one after another, in the order of the file."
    )
    name: str = Field(
        "",
        max_length=100,
        description="The hook's name in messages. Default: the program's name or the webhook's host.",
    )
    command: Annotated[tuple[Argument, ...] | None, BeforeValidator(_words)] = Field(
        None,
        min_length=1,
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="A program and its arguments. No shell runs it, so nothing needs quoting. It receives the payload "
        "as JSON on standard input and in the environment; exit code 0 is success.",
    )
    webhook: Annotated[str, AfterValidator(_web_address), _written_as(f"{_VARIABLE}|{_WEB}")] | None = Field(
        None,
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="An http or https URL that receives the payload as a JSON POST. A 2xx response is success; the "
        "controller follows no redirects. `env:NAME` reads the URL from that environment variable, so that the file "
        "contains no token.",
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        description="Limit for the whole hook. After it the hook has failed, and the controller kills a command with "
        "every process that it started. The rollout waits that long.",
    )

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.command is None) == (self.webhook is None):
            raise ValueError("a hook has a command or a webhook, exactly one of them")
        return self


class Notify(ConfigModel):
    """A recipient of messages through Apprise: chat, mail, pager and many more. Never stops a rollout."""

    url: Annotated[str, AfterValidator(_apprise_address), _written_as(f"{_VARIABLE}|{_APPRISE}")] = Field(
        repr=False,
        json_schema_extra=WRITE_ONLY,
        description="An Apprise URL, such as slack://… or mailto://…. `env:NAME` reads the URL from that environment "
        "variable, so that the file contains no token.",
    )
    at: tuple[Point, ...] = Field(
        (Point.ON_FAILURE, Point.ON_COMPLETION, Point.ON_CRASH_LOOP),
        min_length=1,
        description="Points with a message. Default: the end of a rollout and a crash loop, because people soon ignore "
        "more messages.",
    )
    timeout: Seconds = Field(
        30.0,
        gt=0,
        description="Limit for sending one message. Only the end of the command waits for it.",
    )


@dataclass(frozen=True)
class HookPayload:
    """The payload of a hook. The hook runner sets `point`, so that one payload serves several points."""

    chain: Annotated[str, Field(description="The chain's name.")]
    rollout: Annotated[
        int, Field(description="The rollout's number in the journal. In a crash loop: of the tier's last one, or 0.")
    ]
    tier: Annotated[str, Field(description="The tier that is rolled.")]
    from_template: Annotated[
        str, Field(serialization_alias="from", description="The template that the tier ran before; empty if none.")
    ]
    to_template: Annotated[str, Field(serialization_alias="to", description="The target template.")]
    at: Annotated[float, Field(description="Time in seconds since the epoch, by the controller's clock.")]
    point: Annotated[
        Point | None,
        Field(description="The point that was reached."),
        WithJsonSchema({"type": "string", "enum": [point.value for point in Point]}),
    ] = None
    step: Annotated[
        str, Field(description="The step of the strategy, at the points before and after a step; otherwise empty.")
    ] = ""
    outcome: Annotated[
        Literal["", "completed", "undone", "failed"],
        Field(
            description="Result of the rollout; empty before its end. `undone`: the tier runs `from` again, and all "
            "its instances serve. `failed`: the tier runs neither template completely."
        ),
    ] = ""
    reason: Annotated[str, Field(description="Reason for the outcome; empty if there is nothing to explain.")] = ""
    interrupted: Annotated[
        str,
        Field(
            description="What broke requests, or may have, in sentences; empty: nothing did. The command then exits "
            "with 3, whatever the outcome."
        ),
    ] = ""
    verdict: Annotated[
        str,
        Field(
            description="The verdict of the probes in one line, with absolute counts, at `on_failure` and "
            "`on_completion`. `Not proved` and why: no probe ran, or one still sends."
        ),
    ] = ""
    report: Annotated[
        str,
        Field(
            description="At the same points: the URL of the report where the chain file names its `page`, else the "
            "file that the command writes as the report, or the command that writes one."
        ),
    ] = ""
    page: Annotated[
        str, Field(description="The URL of the rollout on the chain's page; empty without `page` in the chain file.")
    ] = ""
    counts: Annotated[
        Mapping[str, int],
        Field(
            description="Current counts: instances of the tier by phase, and the counts of guards. A missing name is "
            "unknown, not 0."
        ),
    ] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """The payload as hooks receive it."""
        found: dict[str, Any] = _PAYLOAD.dump_python(self, by_alias=True)
        return found | {"point": None if self.point is None else self.point.value, "counts": dict(self.counts)}

    def json(self) -> bytes:
        """The same as one line of ASCII, for any characters of a reason."""
        return json.dumps(self.data()).encode() + b"\n"

    def variables(self) -> dict[str, str]:
        """The same for a command's environment, without `counts`, and with long texts cut."""
        texts = {key: value for key, value in self.data().items() if not isinstance(value, dict)}
        return {variable(key): _fit_for_environment(str(value)) for key, value in texts.items()}


def _fit_for_environment(text: str) -> str:
    return text[:LONGEST_VARIABLE].replace("\0", "").encode(errors="replace").decode()


def variable(key: str) -> str:
    """The environment variable with that part of the payload."""
    return f"CHANGEOVER_{key.upper()}"


def payload_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the payload."""
    schema = _PAYLOAD.json_schema(mode="serialization", by_alias=True)
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)
        part.pop("default", None)
    schema["description"] = "The payload of a hook."
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return whole | {"required": list(schema["properties"])}


_PAYLOAD = TypeAdapter(HookPayload)
