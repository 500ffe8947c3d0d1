from __future__ import annotations

from typing import Any

from rich.console import Console

from changeover.cli.rendering.status import picture

DOWN: dict[str, Any] = {
    "chain": "pair",
    "up": False,
    "state": "down",
    "findings": [],
    "edge_url": None,
    "ca_file": None,
    "active_command": None,
    "load_balancer_running": False,
    "keeper_pid": None,
    "tiers": [],
    "instances": [],
}
TIER = {
    "name": "runtime",
    "kind": "app",
    "size": 2,
    "template": "v2",
    "status": "rolling",
    "serving": 1,
    "restarts": 0,
    "degraded": None,
    "canary_share": {"unit": "requests", "target_percent": 10, "actual_percent": 9.8},
    "preview": "127.0.0.1:9090",
}
IN_FLIGHT = {"requests": 3, "connections": 5, "uploads": [{}], "bytes_left": 10}
UP = {
    **DOWN,
    "up": True,
    "state": "degraded",
    "findings": ["No keeper is running."],
    "edge_url": "https://127.0.0.1:8443",
    "ca_file": "ca.pem",
    "load_balancer_running": True,
    "keeper_pid": 7,
    "tiers": [TIER],
    "instances": [
        {
            "name": f"runtime-{template}-1",
            "tier": "runtime",
            "template": template,
            "phase": phase,
            "address": "127.0.0.1:9001",
            "serving": phase == "admitted",
            "reason": "",
            "in_flight": in_flight,
            "in_flight_counts": None,
            "long_lived": None,
            "drain_seconds_left": left,
        }
        for template, phase, in_flight, left in [
            ("v1", "draining", IN_FLIGHT, 41.6),
            ("v2", "admitted", None, None),
        ]
    ],
}


def printed(data: dict[str, Any]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(picture(data))
    return " ".join(captured.get().split())


def test_a_chain_that_is_down_is_one_line() -> None:
    assert printed(DOWN) == "pair down"


def test_instances_are_grouped_by_tier_and_template() -> None:
    text = printed(UP)
    assert "pair up at https://127.0.0.1:8443 (CA ca.pem)" in text
    assert text.index("runtime app 1 of 2 serving rolling") < text.index("v1") < text.index("runtime-v2-1")


def test_a_draining_instance_shows_what_is_in_flight_and_its_deadline() -> None:
    assert "draining 127.0.0.1:9001 requests 3, uploads 1, connections 5 deadline in 42 s" in printed(UP)


def test_counts_that_differ_and_processes_that_no_drain_waits_for_are_named() -> None:
    (draining, other) = UP["instances"]
    who = {"process": "curl (pid 7, user bob)", "connections": 2}
    own = {"requests": 0, "connections": 0}
    counts = {"instance": own, "kernel": 3, "routers": None, "differ": True, "not_counted": [who]}
    text = printed({**UP, "instances": [{**draining, "in_flight_counts": counts}, other]})
    assert "counts differ: instance 0, kernel 3 not counted: 2 of curl (pid 7, user bob) deadline in 42 s" in text


def test_counts_that_are_unknown_are_not_shown_as_none() -> None:
    assert "admitted 127.0.0.1:9001 in flight unknown" in printed(UP)


def test_a_canary_shows_its_share_and_a_tier_its_preview() -> None:
    text = printed(UP)
    assert "v2 gets 9.8 % of requests (target 10 %)" in text
    assert "preview at 127.0.0.1:9090" in text


def test_the_state_and_what_is_wrong_stand_at_the_top_and_beside_the_instance() -> None:
    dead = {**UP["instances"][0], "phase": "dead", "reason": "its process has ended: [Errno 12] no memory"}
    shown = printed({**UP, "instances": [dead]})
    assert "state: degraded - No keeper is running." in shown
    assert "dead" in shown
    assert "its process has ended: [Errno 12] no memory" in shown


def test_long_lived_connections_are_shown_with_the_age_of_the_oldest() -> None:
    (draining, other) = UP["instances"]
    old = {"connections": 2, "oldest_seconds": 300.0}
    text = printed({**UP, "instances": [{**draining, "long_lived": old}, other]})
    assert "long-lived 2, the oldest 5m deadline in 42 s" in text
