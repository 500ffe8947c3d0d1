"""What commands print with --json over a real chain is what docs/json.md tells, no more and no less.

Of `down` that is seen in test_up_status_down.py, of `probe` and `demo` in test_whole_job.py, of `simulate` and of
errors in tests/unit/test_docs.py. `up` prints what `status` does.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tests.chain.chains import Chain, Said, SlowUpload
from tests.unit.json_page import insist


def test_a_rollout_that_is_asked_for_things_prints_what_is_documented(rolled: Chain) -> None:
    goal = rolled.other("gateway")
    with SlowUpload(rolled) as upload:
        upload.arrives()
        roll = rolled.start("roll", "gateway", "--to", goal, "--strategy", "canary", "--json")
        roll.says("step 1 of")
        with a_stranger_at(rolled.instances("runtime")[0]):
            seen = rolled.run("status", "--json").json
        asked = [rolled.run(action, "--json").json for action in ("pause", "resume", "promote", "abort")]
        upload.finish()
        undone = roll.end(1).json
    insist("status", seen)
    share = next(tier["canary_share"] for tier in seen["tiers"] if tier["name"] == "gateway")
    assert (share["unit"], share["target_percent"]) == ("connections", 10)
    assert share["actual_percent"] == pytest.approx(10, abs=1)
    assert {tier["canary_share"] for tier in seen["tiers"] if tier["name"] != "gateway"} == {None}
    for answer in asked:
        insist(answer["action"], answer)
    insist("roll", undone, nothing(rolled), all_tiers(rolled))
    insist("logs", *logged_in_order(rolled, "gateway"))
    insist("resume", *asked, rolled.run("resume", "--json").json, also="roll")


def logged_in_order(chain: Chain, tier: str) -> list[Said]:
    """Every line of the chain. Each Envoy that was stopped says so after its drain and before its end."""
    lines = [json.loads(line) for line in chain.run("logs", "--json").out.splitlines()]
    assert {"controller", "haproxy", *(one["name"] for one in chain.instances(tier))} <= {
        one["source"] for one in lines
    }
    stopped = {one["instance"] for one in lines if "caught ENVOY_SIGTERM" in one["message"]}
    assert stopped
    for instance in stopped:
        own = [one["message"] for one in lines if one["instance"] == instance]
        order = [
            next(at for at, text in enumerate(own) if part in text) for part in ("-> drained", "SIGTERM", "-> gone")
        ]
        assert order == sorted(order), own
    return lines


@contextmanager
def a_stranger_at(instance: Said) -> Iterator[None]:
    """A connection to an instance that comes from no router."""
    host, port = instance["address"].split(":")
    with socket.create_connection((host, int(port))):
        yield


def nothing(chain: Chain) -> Said:
    return chain.roll("gateway", chain.template("gateway"))


def all_tiers(chain: Chain) -> Said:
    """A release of two tiers that are there already."""
    file = chain.folder / "release.yaml"
    file.write_text("".join(f"{tier}: {chain.template(tier)}\n" for tier in ("edge", "gateway")))
    return chain.run("roll", "--release", file, "--json").json


def test_the_journal_is_printed_as_documented(rolled: Chain) -> None:
    page, markdown = rolled.folder / "roll.html", rolled.folder / "roll.md"
    done = rolled.roll("l4", rolled.other("l4"), "--report", page, "--summary", markdown)
    assert f"| l4 | {done['from']} → {done['to']} | completed |" in markdown.read_text(encoding="utf-8")
    assert "No probe sent traffic in that time" in page.read_text(encoding="utf-8")
    history = rolled.run("history", "--json").json
    insist("history", history)
    last = history["rollouts"][-1]["id"]
    insist("show", rolled.run("show", last, "--html", rolled.folder / "report.html", "--json").json)
