"""docs/hooks.md says what the code does. Its tables are written anew with CHANGEOVER_WRITE_DOCS=1."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
import yaml
from tests.unit.pages import DOCS, insist, settings, table

from changeover.model.hooks import POINTS, Hook, HookPayload, Notify, Point, payload_schema, variable

PAGE = DOCS / "hooks.md"

EXAMPLE = HookPayload(
    chain="shop",
    rollout=7,
    tier="gateway",
    from_template="v1",
    to_template="v2",
    at=1767225600.25,
    point=Point.ON_FAILURE,
    outcome="undone",
    reason="no instance got ready for 1m",
    verdict="No request broke: 0 lost, 0 duplicated, 0 corrupted of 9,812 GET and 24 POST (1.2 GB).",
    report="/var/lib/ci/report.html",
    counts={"admitted": 3, "draining": 1},
)


def points() -> str:
    effect = {True: "stops the rollout", False: "is reported"}
    rows = ((f"`{point}`", when, effect[point.can_stop]) for point, when in POINTS.items())
    return table(("point", "reached when", "a failing hook"), rows)


def variables() -> str:
    properties = payload_schema()["properties"]
    rows = ((f"`{variable(key)}`", properties[key]["description"]) for key in properties if key != "counts")
    return table(("variable", "meaning"), rows)


def code(data: object) -> str:
    return f"```json\n{json.dumps(data, indent=2)}\n```\n"


BLOCKS: dict[str, Callable[[], str]] = {
    "points": points,
    "hook": lambda: settings(Hook),
    "notify": lambda: settings(Notify),
    "example": lambda: code(EXAMPLE.data()),
    "variables": variables,
    "schema": lambda: code(payload_schema()),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_page_is_what_the_code_says(block: str) -> None:
    insist("hooks.md", block, BLOCKS[block]())


def test_every_setting_and_every_part_of_the_payload_is_explained() -> None:
    assert POINTS.keys() == set(Point)
    for part in (Hook, Notify):
        assert all(field.description for field in part.model_fields.values()), part
    assert all(one.get("description") for one in payload_schema()["properties"].values())


def test_the_example_of_a_chain_file_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    said = yaml.safe_load(text)
    assert [Hook.model_validate(one).point for one in said["hooks"]] == ["before_tier", "after_tier"]
    assert [Notify.model_validate(one).url for one in said["notify"]] == ["env:ONCALL_URL", "env:TEAM_CHAT_URL"]
