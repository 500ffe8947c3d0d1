"""A chain may begin and end at any tier: an application alone, one behind an nginx, two proxies, an edge alone."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from pathlib import Path

import httpx
import pytest

from changeover import wiring
from changeover.engine.controller import Controller
from changeover.engine.journal.lease import lease
from changeover.engine.lifecycle import bring_up, take_down

OWN = """
events {{}}
http {{ server {{
    listen CHANGEOVER_LISTEN{tls};
    {certificate}
    add_header X-Edge {version} always;
    location / {{ {does} }}
}} }}
"""
TLS = "ssl_certificate CHANGEOVER_CERTIFICATE; ssl_certificate_key CHANGEOVER_KEY;"
PASSES, ANSWERS = "proxy_pass http://changeover_inner;", 'return 200 "CHANGEOVER_TEMPLATE";'

HAPROXY = """
frontend web
    mode http
    timeout client 60s
    bind CHANGEOVER_LISTEN
    http-after-response add-header X-Edge {version}
    http-request return status 200
"""

APP = "  - {name: runtime, kind: app, size: 1, templates: {v1: {version: v1}, v2: {version: v2}}, %s}\n"
OWN_NGINX = "  - {name: edge, kind: nginx, size: 1, templates: {v1: {config: v1.conf}, v2: {config: v2.conf}}, %s}\n"
PLAIN = "  - {name: edge, kind: nginx, size: 1, templates: {v1: {tls: false}, v2: {tls: false}}, %s}\n"
INSIDE = "  - {name: inside, kind: nginx, size: 1, templates: {v1: {config: v1.conf}, v2: {config: v2.conf}}, %s}\n"
L4 = "  - {name: l4, kind: nginx-stream, size: 1, templates: {v1: {}, v2: {}}, %s}\n"
GENERATED = (
    "  - {name: edge, kind: haproxy, size: 1, templates: "
    "{v1: {headers: {X-Edge: v1}}, v2: {headers: {X-Edge: v2}}}, %s}\n"
)
OWN_HAPROXY = "  - {name: edge, kind: haproxy, size: 1, templates: {v1: {config: v1.cfg}, v2: {config: v2.cfg}}, %s}\n"
TCP = "  - {name: l4, kind: haproxy-tcp, size: 1, templates: {v1: {}, v2: {proxy_timeout: 60s}}, %s}\n"
QUICK = "health: {interval: 50ms, rise: 1}, update: {min_ready: 0}, drain: {deadline: 30s}"


@pytest.mark.parametrize(
    ("tiers", "does", "tls", "rolls"),
    [
        (APP, "", False, "runtime"),
        (OWN_NGINX + APP, PASSES, True, "edge"),
        (OWN_NGINX + APP, PASSES, False, "edge"),
        (PLAIN + INSIDE + APP, f"include CHANGEOVER_PROXY; {PASSES}", False, "inside"),
        (L4 + APP, "", False, "runtime"),
        (L4 + INSIDE, ANSWERS, False, "inside"),
        (OWN_NGINX, ANSWERS, True, "edge"),
        (GENERATED + APP, "", True, "edge"),
        (OWN_HAPROXY, "", False, "edge"),
        (TCP + APP, "", False, "runtime"),
    ],
    ids=[
        *("an application", "behind nginx", "behind nginx without TLS", "two proxies", "behind L4"),
        *("an nginx behind L4", "an edge"),
        *("behind HAProxy", "a HAProxy of one's own", "behind HAProxy as L4"),
    ],
)
def test_a_chain_begins_and_ends_at_any_tier_and_is_rolled(
    tmp_path: Path, tiers: str, does: str, tls: bool, rolls: str
) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text("tiers:\n" + tiers.replace("%s", QUICK))
    for version in ("v1", "v2"):
        words, certificate = (" ssl", TLS) if tls else ("", "")
        text = OWN.format(tls=words, certificate=certificate, version=version, does=does)
        (tmp_path / f"{version}.conf").write_text(text)
        (tmp_path / f"{version}.cfg").write_text(HAPROXY.format(version=version))
    assert asyncio.run(served(file, tmp_path / "state", rolls)) == ["v1", "v2"]


async def served(file: Path, state: Path, rolls: str) -> list[str]:
    """The versions that answered before and after a roll."""
    answers = []
    found = wiring.wire(file, state)
    targets = {tier.name: tier.first for tier in found.chain.tiers}
    found.check_configurations(targets)
    with contextlib.closing(found.journal()) as journal, lease(journal, "test", time.time()):
        found.keep_copy(journal, targets, fresh=True)
        await bring_up(found.runtime, journal, lambda _: None)
        try:
            answers.append(await version(found))
            controller = Controller(found.runtime, journal, lambda _: None)
            async with controller.tending():
                journal.begin_rollout(controller.now, rolls, "v1", "v2")
                assert (await controller.move(rolls, "v2")).outcome == "completed"
            answers.append(await version(found))
        finally:
            await take_down(found.runtime, journal, lambda _: None)
    return answers


async def version(found: wiring.Wired) -> str:
    scheme, address = ("https" if found.takes_tls() else "http"), found.platform.entry(found.chain.tiers[0].name)
    async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=found.ca_file)) as client:
        answer = await client.get(f"{scheme}://{address}/hello")
    assert answer.status_code == 200, answer.text
    return str(answer.headers.get("x-edge") or answer.json()["version"])
