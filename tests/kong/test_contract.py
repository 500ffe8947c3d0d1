"""What the program relies on, of any Kong: one that CHANGEOVER_KONG_ADMIN names (docs/kong.md), or the double.

A Kong that is named must have no services of its own: a route for everything is made, and left, as are the upstreams.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.kong.kongs import REAL, TOKEN, Kong, Steered, any_kong, instance, plain_document, route, run, steered
from tests.kong.serving import named

from changeover.hops.kong.admin_api import ActiveTarget, NodeBalancer
from changeover.hops.kong.router import KongRouter
from changeover.ports import Membership, Unknown

UPSTREAM = "changeover-contract"
A, B = instance(1, 21001), instance(2, 21002)
PATIENCE = 40.0
"""Seconds for what a real Kong does every five."""
REQUESTS = 400
SHAPES = ["a cluster with a database", "nodes without a database"]


@pytest.fixture(params=["here"] if REAL else SHAPES)
def kong(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kong]:
    with any_kong(tmp_path, 3, database=request.param == SHAPES[0], delay=0.3) as found:
        route(found, plain_document("runtime", None))
        yield found


def until(look: Callable[[], Any], wanted: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while (seen := look()) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)


def forget(router: Steered, name: str) -> None:
    router.do(lambda it: it.forget(name))


def balanced(kong: Kong, node: int, upstream: str) -> NodeBalancer | str:
    try:
        return run(kong.api(node).balancer(upstream))
    except Unknown as error:
        return str(error)


def hosts(kong: Kong, node: int, upstream: str) -> Any:
    seen = balanced(kong, node, upstream)
    return dict(seen.targets) if isinstance(seen, NodeBalancer) else seen


# -- one request after the other -----------------------------------------------------------------------------------


def test_targets_come_change_and_go(kong: Kong) -> None:
    if not kong.database:
        run(kong.api().load(plain_document()))
        with pytest.raises(Unknown, match="answered 405"):
            run(kong.api().set_target("runtime", "127.0.0.1:21001", 100, ("a",)))
        return
    api = kong.api()
    run(api.create_upstream({"name": UPSTREAM}))
    assert run(api.upstream(UPSTREAM))
    try:
        run(api.set_target(UPSTREAM, "127.0.0.1:21001", 100, ("a",)))
        run(api.set_target(UPSTREAM, "127.0.0.1:21001", 50, ("b",)))
        run(api.weigh_target(UPSTREAM, "127.0.0.1:21001", 0))
        (target,) = run(api.targets(UPSTREAM))
        assert (target.address, target.weight, target.tags) == ("127.0.0.1:21001", 0, ("b",))
        for node in range(len(kong.admin)):
            until(partial(hosts, kong, node, UPSTREAM), {"127.0.0.1:21001": ActiveTarget(0, True)})
    finally:
        run(api.delete_target(UPSTREAM, "127.0.0.1:21001"))
    run(api.delete_target(UPSTREAM, "127.0.0.1:21001"))
    for node in range(len(kong.admin)):
        until(partial(hosts, kong, node, UPSTREAM), {})


def test_a_whole_document_is_taken(kong: Kong) -> None:
    document = plain_document("runtime", "/readyz", routes=[{"path": "/"}, {"path": "/upload", "buffering": "buffer"}])
    if kong.database:
        with pytest.raises(Unknown, match="only available when Kong is configured to not use a database"):
            run(kong.api().load(document))
        return
    run(kong.api().load(document))
    run(kong.api().load(document))
    until(partial(hosts, kong, 0, "runtime"), {})
    with pytest.raises(Unknown, match="answered 400: declarative config is invalid"):
        run(kong.api().load({**document, "bogus": 1}))


def test_a_router_admits_weighs_and_removes(kong: Kong) -> None:
    router = steered(kong)
    router.do(lambda it: it.open())
    try:
        router.do(lambda it: it.admit(A, 100))
        until(lambda: router.sees(A), Membership(True, False, weight=100))
        router.do(lambda it: it.admit(B, 100))
        router.do(lambda it: it.weigh(A, 256))
        until(lambda: router.sees(A), Membership(True, False, weight=256))
        until(lambda: router.sees(B), Membership(True, False, weight=100))
        router.do(lambda it: it.remove(A))
        until(lambda: router.sees(A), Membership(False, True))
    finally:
        for one in (A, B):
            forget(router, one.name)


def test_requests_are_split_by_weight(kong: Kong) -> None:
    """Within the two-sided binomial bound, with one false alarm in a million."""
    if not kong.proxy:
        pytest.skip("CHANGEOVER_KONG_PROXY does not say where requests are to go")
    router = steered(kong)
    router.do(lambda it: it.open())
    with named("a", "b") as (a, b), httpx.Client(trust_env=False) as client:
        shares = {instance(1, a): 30, instance(2, b): 90}
        try:
            for one, weight in shares.items():
                router.do(partial(KongRouter.admit, instance=one, weight=weight))
            for one, weight in shares.items():
                until(partial(router.sees, one), Membership(True, False, weight=weight))
            until(lambda: client.get(f"http://{kong.proxy}/").status_code, 200)
            answers = [client.get(f"http://{kong.proxy}/").text for _ in range(REQUESTS)]
        finally:
            for one in shares:
                forget(router, one.name)
    from scipy.stats import binomtest  # here: it is a twentieth of what every worker imports

    got = answers.count("a")
    assert got + answers.count("b") == REQUESTS
    assert binomtest(got, REQUESTS, 0.25).pvalue >= 1e-6
    assert binomtest(got, REQUESTS, 0.5).pvalue < 1e-6, "equal shares would not have been noticed"


def test_readiness_is_at_the_status_listener_and_nowhere_else(kong: Kong) -> None:
    headers = {"Kong-Admin-Token": os.environ[TOKEN]} if os.environ.get(TOKEN) else {}
    assert httpx.get(f"{kong.admin[0]}/status/ready", headers=headers, trust_env=False).status_code == 404
    if not kong.status:
        pytest.skip("CHANGEOVER_KONG_STATUS does not say where it is")
    if not kong.database:  # one without a configuration is not ready
        for node in range(len(kong.admin)):
            run(kong.api(node).load(plain_document()))
    reported = httpx.get(f"http://{kong.status}/status/ready", trust_env=False)
    assert (reported.status_code, reported.json()) == (200, {"message": "ready"})
