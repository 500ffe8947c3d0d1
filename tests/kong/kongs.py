"""Kongs for tests: one that the environment names, or the double; and routers over their nodes.

CHANGEOVER_KONG_ADMIN   the Admin API of every node, separated by commas: the tests run against that Kong
CHANGEOVER_KONG_PROXY   its proxy listener, `host:port`: for those that send requests through it
CHANGEOVER_KONG_STATUS  its status listener, `host:port`
CHANGEOVER_KONG_TOKEN   the token of the Admin API, if it wants one
CHANGEOVER_KONG_BINARY  a `kong` to be run as a tier, instead of the double's
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from tests.chain.chains import REPOSITORY
from tests.kong.double import Database, Node
from tests.kong.serving import Beside, ServedNode, beside

from changeover.hops.app.hop import App
from changeover.hops.kong.admin_access import AdminAccess
from changeover.hops.kong.admin_api import AdminApi, PageLimits
from changeover.hops.kong.document import document
from changeover.hops.kong.external import external_router
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.router import KongRouter
from changeover.hops.kong.settings import KongSettings
from changeover.hops.kong.timing import KongTiming
from changeover.model.chain import Tier
from changeover.model.instance import Address, Instance
from changeover.model.readiness import Readiness
from changeover.ports import Membership

REAL = [url for url in os.environ.get("CHANGEOVER_KONG_ADMIN", "").split(",") if url]
REAL_BINARY = os.environ.get("CHANGEOVER_KONG_BINARY", "")
TOKEN = "CHANGEOVER_KONG_TOKEN"
LIMITS = PageLimits()
AT_ONCE = KongTiming(look=0.0)
"""The double may be asked without a pause."""
Value = TypeVar("Value")


@dataclass
class Kong:
    """Where its nodes are. `double`: what there is to take hold of when it is none of the environment's."""

    admin: tuple[str, ...]
    proxy: str
    status: str
    database: bool
    double: Beside | None = None
    folder: Path = field(default_factory=Path)

    @property
    def served(self) -> list[ServedNode]:
        assert self.double is not None
        return list(self.double.served)

    def api(self, node: int = 0, limits: PageLimits = LIMITS) -> AdminApi:
        return AdminApi(AdminAccess(token_env=TOKEN if os.environ.get(TOKEN) else ""), self.admin[node], limits)

    def given(self, **given: Any) -> dict[str, Any]:
        """A tier's `router`."""
        plain: dict[str, Any] = {
            "kind": "kong",
            "admin": list(self.admin),
            "proxy": self.proxy,
            "request_buffering": False,
            "propagation": "0s",
        }
        if not self.database:
            plain["document"] = str(self.folder / "kong.json")
        if os.environ.get(TOKEN):
            plain["token_env"] = TOKEN
        return {**plain, **given}


@contextmanager
def double(folder: Path, nodes: int, *, database: bool, delay: float = 0.0, pool_idle: int = 1) -> Iterator[Kong]:
    """A Kong of that many nodes. `delay`: seconds until a change has come to the others."""
    shared = Database(delay)
    served = [ServedNode(Node(shared if database else None, pool_idle=pool_idle)) for _ in range(nodes)]
    with beside(*served) as running:
        yield Kong(
            tuple(one.admin_url for one in served),
            f"127.0.0.1:{served[-1].proxy.port}",
            f"127.0.0.1:{served[-1].status.port}",
            database,
            running,
            folder,
        )


@contextmanager
def any_kong(folder: Path, nodes: int, *, database: bool, delay: float = 0.0) -> Iterator[Kong]:
    """The environment's, or a double."""
    if not REAL:
        with double(folder, nodes, database=database, delay=delay) as found:
            yield found
        return
    proxy, status = (os.environ.get(f"CHANGEOVER_KONG_{which}", "") for which in ("PROXY", "STATUS"))
    found = Kong(tuple(REAL), proxy, status, database, folder=folder)
    found.database = run(found.api().has_database())
    yield found


def route(kong: Kong, document: dict[str, Any]) -> None:
    """Have every request go to an upstream called runtime, as `changeover render kong` and decK would."""
    (kong.folder / "kong.json").write_text(json.dumps(document))
    if not kong.database:
        return
    for service in document["services"]:
        routes = service["routes"]
        plain = {name: value for name, value in service.items() if name != "routes"}
        for path, body in [("/services", plain), *((f"/services/{service['name']}/routes", one) for one in routes)]:
            headers = {"Kong-Admin-Token": os.environ[TOKEN]} if os.environ.get(TOKEN) else {}
            url = f"{kong.admin[0]}{path}"
            assert httpx.post(url, json=body, headers=headers, trust_env=False).status_code in (201, 409)


def have_kong(folder: Path, environment: pytest.MonkeyPatch) -> None:
    """Have a `kong` come first on PATH: the one that the environment names, or the double's."""
    if REAL_BINARY:
        environment.setenv("PATH", f"{Path(REAL_BINARY).parent}:{os.environ['PATH']}")
    else:
        install(folder, environment)


def install(folder: Path, environment: pytest.MonkeyPatch) -> None:
    """Have the double's `kong` come first on PATH."""
    script = folder / "kong"
    code = REPOSITORY / "tests/kong/fake_kong.py"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY}" exec "{sys.executable}" "{code}" "$@"\n')
    script.chmod(0o755)
    environment.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def run(work: Awaitable[Value]) -> Value:
    async def awaited() -> Value:
        return await work

    return asyncio.run(awaited())


BEHIND = Tier.model_validate(
    {"name": "runtime", "kind": "app", "templates": {"v1": {}}, "health": {"interval": "100ms"}}
)


def at(ready_path: str | None) -> Readiness | None:
    return None if ready_path is None else Readiness(path=ready_path)


def plain_document(
    upstream: str = "runtime", ready_path: str | None = "/readyz", affinity: Any = "none", **settings: Any
) -> dict[str, Any]:
    """What a Kong in front of a tier is configured with."""
    behind = Tier.model_validate({**BEHIND.model_dump(mode="json"), "affinity": affinity})
    return document(upstream, behind, KongSettings.model_validate(settings), at(ready_path))


def tier(given: dict[str, Any], **more: Any) -> Tier:
    plain = {"name": "runtime", "kind": "app", "templates": {"v1": {}}, "drain": {"deadline": "90s"}, "router": given}
    return Tier.model_validate({**plain, **more})


def instance(number: int, port: int) -> Instance:
    at = Address("127.0.0.1", port)
    return Instance(f"runtime-v1-{number}", "runtime", "v1", at, at)


@dataclass
class Steered:
    """A router whose clock the test sets."""

    router: KongRouter
    now: list[float]

    def do(self, step: Callable[[KongRouter], Awaitable[Value]]) -> Value:
        return run(step(self.router))

    def sees(self, one: Instance) -> Membership:
        return run(self.router.membership(frozenset([one.name])))[one.name]


def steered(
    kong: Kong,
    ready_path: str | None = None,
    *,
    tier_keys: Mapping[str, Any] | None = None,
    timing: KongTiming = AT_ONCE,
    **given: Any,
) -> Steered:
    """A router with that `router`, of a tier with those `tier_keys`."""
    now = [1000.0]
    described = kong.given(**given)
    settings, members = ExternalKong.model_validate(described), kong.folder / "members.json"
    routed = tier(described, **(tier_keys or {}))
    asked = at(ready_path) if not tier_keys or ready_path is None else App.traits.readiness_of(routed)
    return Steered(external_router(routed, settings, asked, members, lambda: now[0], timing), now)
