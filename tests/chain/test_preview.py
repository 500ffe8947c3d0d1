"""The new colour of a blue-green rollout at an address of its own, before the switch and not after it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.chain.chains import CLIENT, Chain, Command, Said, tier_of, trust, until
from tests.chain.conftest import own_chain

SMOKE = """
import json, sys, urllib.request
from pathlib import Path
asked = json.load(sys.stdin)
if asked["tier"] == "gateway":
    answer = urllib.request.urlopen(f"http://{Path('preview').read_text()}/hello", timeout=40)
    found = answer.headers["X-Gateway-Version"]
    Path("smoked").write_text(f"{asked['step']}: {found}")
    sys.exit(f"{found} smells of smoke" if Path("refuse").exists() else 0)
"""
"""A hook that looks at the gateway's new colour, and objects while there is a file `refuse`."""


def previewed(said: Said) -> None:
    for name in ("edge", "gateway", "runtime"):
        tier_of(said, name)["update"] |= {"strategy": "blue-green", "bake": "0s", "preview": "127.0.0.1:0"}
    for name in ("edge", "runtime"):
        tier_of(said, name)["update"]["switch"] = "when-promoted"
    said["hooks"] = [{"point": "before_step", "name": "smoke", "command": [sys.executable, "-c", SMOKE]}]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with own_chain(tmp_path_factory.mktemp("previewed"), previewed) as chain:
        chain.up()
        (chain.folder / "preview").write_text(preview(chain, "gateway"))
        yield chain


def preview(chain: Chain, tier: str) -> str:
    return next(str(one["preview"]) for one in chain.status()["tiers"] if one["name"] == tier)


def look(chain: Chain, tier: str) -> httpx.Response:
    """One GET at a tier's preview, on a connection of its own."""
    scheme = "https" if tier == "edge" else "http"
    with httpx.Client(verify=trust(chain.ca_file), **CLIENT) as client:
        return client.get(f"{scheme}://{preview(chain, tier)}/hello")


def version(answer: httpx.Response, tier: str) -> str:
    assert answer.status_code == 200, answer
    return str(answer.json()["version"] if tier == "runtime" else answer.headers[f"x-{tier}-version"])


def waiting(chain: Chain, tier: str) -> tuple[Command, str, str]:
    """A rollout that waits to be promoted, the template it comes from, and the one it goes to."""
    before, goal = chain.template(tier), chain.other(tier)
    roll = chain.start("roll", tier, "--to", goal, "--json")
    roll.says("the switch waits for `promote`")
    return roll, before, goal


def shown(chain: Chain, tier: str) -> str:
    """The version at the preview, as soon as there is one."""

    def found() -> str | None:
        try:
            answer = look(chain, tier)
        except httpx.TransportError:  # TLS, and nobody there who speaks it
            return None
        return None if answer.status_code == 503 else version(answer, tier)

    return until(found, f"the new colour of {tier} at its preview")


def nobody(chain: Chain, tier: str) -> None:
    """Wait until the preview says that there is nobody to look at."""

    def gone() -> bool:
        answer = look(chain, tier)
        return answer.status_code == 503 and answer.text == f"no new instance of {tier} waits\n"

    until(gone, f"a preview of {tier} with nobody behind it")


def test_before_its_promotion_the_new_colour_is_at_the_preview_and_nowhere_else(chain: Chain) -> None:
    nobody(chain, "runtime")
    roll, before, goal = waiting(chain, "runtime")
    assert shown(chain, "runtime") == goal
    assert {version(look(chain, "runtime"), "runtime") for _ in range(6)} == {goal}
    assert {version(chain.get(), "runtime") for _ in range(12)} == {before}
    assert chain.run("promote", "--json").json["action"] == "promote"
    assert roll.end(0).json["outcome"] == "completed"
    chain.serves("runtime", goal)
    nobody(chain, "runtime")


def test_after_an_abort_nobody_is_at_the_preview(chain: Chain) -> None:
    roll, before, goal = waiting(chain, "runtime")
    assert shown(chain, "runtime") == goal
    chain.run("abort", "--json")
    nobody(chain, "runtime")
    assert roll.end(1).json["outcome"] == "undone"
    chain.serves("runtime", before)


def test_a_preview_of_the_edge_speaks_tls_as_the_edge_does(chain: Chain) -> None:
    roll, before, goal = waiting(chain, "edge")
    assert shown(chain, "edge") == goal
    assert {version(chain.get(), "edge") for _ in range(6)} == {before}
    chain.run("promote", "--json")
    assert roll.end(0).json["outcome"] == "completed"
    chain.serves("edge", goal)


def test_a_hook_before_the_switch_looks_at_the_preview_and_may_object(chain: Chain) -> None:
    before, goal = chain.template("gateway"), chain.other("gateway")
    (chain.folder / "refuse").touch()
    roll = chain.start("roll", "gateway", "--to", goal, "--json")
    roll.says(f"{goal} smells of smoke")
    assert (chain.folder / "smoked").read_text() == f"switch to {goal}: {goal}"
    assert {version(chain.get(), "gateway") for _ in range(6)} == {before}
    assert chain.run("promote", "--json").json["action"] == "promote"
    assert roll.end(0).json["outcome"] == "completed"
    (chain.folder / "refuse").unlink()
    (chain.folder / "smoked").unlink()
    chain.roll("gateway", before)
    assert (chain.folder / "smoked").read_text() == f"switch to {before}: {before}"
    chain.serves("gateway", before)


def test_a_preview_that_was_moved_while_the_chain_is_up_is_refused(chain: Chain) -> None:
    text = chain.file.read_text()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        moved = f"127.0.0.1:{holder.getsockname()[1]}"
    chain.file.write_text(text.replace("preview: 127.0.0.1:0", f"preview: {moved}", 1))
    done = chain.here("roll", "l4", "--to", chain.other("l4"), code=2)
    assert (
        f"the chain file sets the preview of tier edge to {moved}; the chain was started with 127.0.0.1:0" in done.err
    )
    chain.file.write_text(text)
