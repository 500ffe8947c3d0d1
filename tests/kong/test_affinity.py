"""What keeps a client at one instance behind a Kong, and what becomes of clients without it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.kong.kongs import Kong, any_kong, plain_document, route, run
from tests.kong.serving import named

from changeover.hops.kong.document import SPREADING_COOKIE, KongTarget, with_targets
from changeover.model.instance import Address

CLIENTS = 60
PATIENCE = 40.0


@pytest.fixture
def kong(tmp_path: Path) -> Iterator[Kong]:
    with any_kong(tmp_path, 1, database=False) as found:
        if found.database or not found.proxy:
            pytest.skip("a Kong without a database is needed, and where requests go")
        yield found


@pytest.fixture
def ports() -> Iterator[tuple[int, ...]]:
    with named("a", "b", "c") as found:
        yield found


def serves(kong: Kong, ports: tuple[int, ...], affinity: Any, **upstream: Any) -> None:
    """Three targets of equal weight behind that affinity. `upstream`: keys that are set otherwise."""
    given = plain_document(ready_path=None, affinity=affinity)
    given["upstreams"][0] |= upstream
    targets = {str(port): KongTarget(Address("127.0.0.1", port), 100) for port in ports}
    loaded = with_targets(given, "runtime", targets)
    route(kong, loaded)
    run(kong.api().load(loaded))
    deadline = time.monotonic() + PATIENCE
    while httpx.get(f"http://{kong.proxy}/", trust_env=False).status_code != 200:
        assert time.monotonic() < deadline


def answers(kong: Kong, headers: list[dict[str, str]]) -> list[str]:
    """Of a client without cookies for each."""
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(trust_env=False, headers=one)) for one in headers]
        return [client.get(f"http://{kong.proxy}/").text for client in clients]


def users(header: str = "X-User") -> list[dict[str, str]]:
    return [{header: f"user {number}"} for number in range(CLIENTS)]


@pytest.mark.parametrize("name", ["X-User", "x-user", "X_User", "User"])
def test_values_of_a_header_spread_and_each_stays(kong: Kong, ports: tuple[int, ...], name: str) -> None:
    serves(kong, ports, {"header": name})
    first = answers(kong, users(name))
    assert min(Counter(first)[target] for target in "abc") >= 8, Counter(first)
    assert answers(kong, users(name)) == first


def test_requests_without_the_header_are_spread(kong: Kong, ports: tuple[int, ...]) -> None:
    serves(kong, ports, {"header": "X-User"})
    assert min(Counter(answers(kong, [{}] * CLIENTS))[target] for target in "abc") >= 8


def test_a_name_with_a_dash_or_no_fallback_would_be_noticed(kong: Kong, ports: tuple[int, ...]) -> None:
    serves(kong, ports, {"header": "X-User"}, hash_on_header="X-User", hash_fallback="none")
    assert len(set(answers(kong, users()))) == 1
    serves(kong, ports, {"header": "X-User"}, hash_fallback="none")
    assert len(set(answers(kong, [{}] * CLIENTS))) == 1


def test_a_client_stays_by_its_cookie(kong: Kong, ports: tuple[int, ...]) -> None:
    serves(kong, ports, {"cookie": "route"})
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(trust_env=False)) for _ in range(CLIENTS)]
        first = [client.get(f"http://{kong.proxy}/").text for client in clients]
        assert [client.get(f"http://{kong.proxy}/").text for client in clients] == first
        assert all("route" in client.cookies and SPREADING_COOKIE not in client.cookies for client in clients)
    assert min(Counter(first)[target] for target in "abc") >= 8
