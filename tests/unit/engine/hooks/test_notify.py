"""The words of a notification; sending it is in tests/process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from changeover.engine.hooks.notify import message
from changeover.model.hooks import HookPayload, Point

PAYLOAD = HookPayload(chain="shop", rollout=7, tier="gateway", from_template="v1", to_template="v2", at=1.5)


@pytest.mark.parametrize(
    ("payload", "title", "kind"),
    [
        ({"point": Point.ON_COMPLETION, "outcome": "completed"}, "shop: gateway v1 -> v2: completed", "success"),
        ({"point": Point.ON_FAILURE, "outcome": "undone"}, "shop: gateway v1 -> v2: undone", "failure"),
        ({"point": Point.AFTER_STEP, "step": "20%"}, "shop: gateway v1 -> v2: after step: 20%", "info"),
        ({"point": Point.BEFORE_TIER, "from_template": ""}, "shop: gateway v2: before tier", "info"),
    ],
)
def test_the_title_of_a_notification(payload: dict[str, Any], title: str, kind: str) -> None:
    said = message(HookPayload(**{**vars(PAYLOAD), **payload}))
    assert (said["title"], said["type"]) == (title, kind)


def test_the_body_of_a_notification_names_the_reason_the_rollout_and_the_counts() -> None:
    payload = HookPayload(**{**vars(PAYLOAD), "point": Point.ON_FAILURE, "reason": "no instance got ready"})
    assert message(payload)["body"] == "no instance got ready\nRollout 7 of chain shop, on failure."
    ended = replace(payload, verdict="Requests broke: 2 lost of 9 GET.", report="/ci/page.html")
    assert message(ended)["body"].splitlines()[1:3] == ["Requests broke: 2 lost of 9 GET.", "Report: /ci/page.html"]
    paged = replace(payload, report="https://h/chains/1/rollouts/7/report", page="https://h/chains/1?rollout=7")
    assert message(paged)["body"].splitlines()[1:3] == [
        "Report: https://h/chains/1/rollouts/7/report",
        "Page: https://h/chains/1?rollout=7",
    ]
    counted = HookPayload(**{**vars(PAYLOAD), "point": Point.ON_COMPLETION, "counts": {"admitted": 2, "gone": 1}})
    assert message(counted)["body"] == "Rollout 7 of chain shop, on completion.\n2 admitted, 1 gone"
