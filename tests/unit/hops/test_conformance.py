"""What every registered hop must hold to, one list for all of them. A new hop is tested here without a new line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import httpx
import pytest
from pydantic import ValidationError
from tests.kong.kongs import have_kong
from tests.unit.hops.conforming import KINDS, ask, context, not_http, silence, smallest
from tests.unit.hops.contexts import instance

from changeover.hops import registry
from changeover.hops.envoy.router import EnvoyRouter
from changeover.hops.haproxy.external.router import ExternalHaproxyRouter
from changeover.hops.kong.router import KongRouter
from changeover.kit.direct_http import DirectClient
from changeover.ports import (
    BuffersToDisk,
    CountsRequests,
    Hop,
    NeedsSoftware,
    PoolsConnections,
    RoutesByAgents,
    RoutesFromOutside,
    RoutesInward,
    Unknown,
)

ALONE = instance(port=1, control=1)
"""An instance without connections: nothing can listen at port 1 here."""
GARBAGE = ["", "ok", "[]", "{}", "null", "<html></html>", "a: b\nc", '{"requests": null}', "Reading: x Writing: y"]

UNKNOWN = "unknown"
NO_REQUESTS_SEEN = None
"""Only the kernel was asked, which counts connections."""


def requests(hop: type[Hop], answer: Callable[[httpx.Request], httpx.Response]) -> int | str | None:
    """The requests in flight that the hop makes of such an answer."""
    try:
        seen = ask(hop, lambda one: one.in_flight(ALONE), answer)
        return None if seen is None else seen.requests
    except Unknown:
        return UNKNOWN


@pytest.fixture(params=KINDS)
def hop(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Hop]:
    have_kong(tmp_path, monkeypatch)  # the one software here that no package source provides
    return registry.HOPS[request.param]


# -- data ----------------------------------------------------------------------------------------------------------


def test_it_is_registered_under_its_kind_with_a_path_for_readiness(hop: type[Hop]) -> None:
    assert registry.HOPS[hop.traits.kind] is hop
    assert re.fullmatch(r"[a-z][a-z0-9-]*", hop.traits.kind)
    assert hop.traits.ready_path.startswith("/")


def test_no_two_hops_share_a_schema(hop: type[Hop]) -> None:
    names = [other.traits.settings.__name__ for other in registry.HOPS.values()]
    assert names.count(hop.traits.settings.__name__) == 1


def test_a_template_that_names_only_what_it_must_is_valid_and_frozen(hop: type[Hop]) -> None:
    settings = smallest(hop)
    field = next(iter(type(settings).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, field, getattr(settings, field))


def test_an_unknown_key_of_a_template_is_refused(hop: type[Hop]) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        hop.traits.settings.model_validate({**smallest(hop).model_dump(mode="json"), "no_such_key": 1})


def test_its_traits_are_what_it_can_do(hop: type[Hop]) -> None:
    traits = hop.traits
    assert traits.routes_inward is issubclass(hop, RoutesInward)
    assert traits.routes_by_agents is issubclass(hop, RoutesByAgents)
    assert traits.counts_requests is issubclass(hop, CountsRequests)
    assert (traits.external_router is not None) is issubclass(hop, RoutesFromOutside)


def test_the_routers_that_keep_idle_connections_are_those_whose_traits_say_so() -> None:
    routers = {"kong": KongRouter, "haproxy": ExternalHaproxyRouter, "envoy": EnvoyRouter}
    assert {kind for kind, router in routers.items() if issubclass(router, PoolsConnections)} == {
        kind for kind, hop in registry.HOPS.items() if hop.traits.pools
    }
    assert routers.keys() == {
        kind
        for kind, hop in registry.HOPS.items()
        if hop.traits.routes_inward or hop.traits.external_router is not None
    }


def test_only_a_hop_that_passes_requests_on_can_route_or_count_them(hop: type[Hop]) -> None:
    traits = hop.traits
    assert traits.passes_on or not (traits.routes_inward or traits.counts_requests)
    assert traits.routes_inward or not traits.counts_requests


def test_what_it_may_buffer_on_disk_is_a_number_of_bytes(hop: type[Hop]) -> None:
    if issubclass(hop, BuffersToDisk):
        assert hop(DirectClient()).disk_bytes(smallest(hop)) >= 0


# -- starting ------------------------------------------------------------------------------------------------------


def test_what_it_starts_can_be_found_and_its_files_lie_in_the_folder_of_the_instance(hop: type[Hop]) -> None:
    launch = hop(DirectClient()).launch(smallest(hop), context(hop))
    for command in filter(None, (launch.argv, launch.check)):
        assert shutil.which(command[0]), command
        assert all(isinstance(word, str) and "\0" not in word for word in command)
    for path, text in launch.files.items():
        assert not PurePosixPath(path).is_absolute()
        assert ".." not in PurePosixPath(path).parts
        assert text.strip()


def test_the_same_template_at_the_same_place_starts_the_same(hop: type[Hop]) -> None:
    first, second = (hop(DirectClient()).launch(smallest(hop), context(hop)) for _ in range(2))
    assert first == second


def test_it_starts_nothing_of_the_command_line(hop: type[Hop]) -> None:
    launch = hop(DirectClient()).launch(smallest(hop), context(hop))
    assert not any("changeover.cli" in word for word in launch.argv)


def test_a_hop_that_passes_requests_on_is_not_started_without_a_tier_behind_it(hop: type[Hop]) -> None:
    nothing = context(hop, behind=())
    if hop.traits.passes_on:
        with pytest.raises(ValueError, match="needs a tier behind it"):
            hop(DirectClient()).launch(smallest(hop), nothing)
    else:
        assert hop(DirectClient()).launch(smallest(hop), nothing).argv


def test_software_that_is_there_is_found(hop: type[Hop]) -> None:
    if issubclass(hop, NeedsSoftware):
        assert not list(hop(DirectClient()).missing_software([]))


# -- asking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [silence, not_http], ids=["refused", "not HTTP"])
def test_without_an_answer_it_is_not_ready_and_what_is_in_flight_is_unknown(
    hop: type[Hop], answer: Callable[[httpx.Request], httpx.Response]
) -> None:
    assert "GET http://" in ask(hop, lambda one: one.not_ready(ALONE, 2.0), answer)
    assert requests(hop, answer) in (UNKNOWN, NO_REQUESTS_SEEN)


@pytest.mark.parametrize("status", [204, 302, 404, 500, 503])
def test_only_200_is_ready(hop: type[Hop], status: int) -> None:
    assert f"answered {status}, and not 200" in ask(
        hop, lambda one: one.not_ready(ALONE, 2.0), lambda _: httpx.Response(status)
    )


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_unknown_and_never_counts_as_nothing_in_flight(hop: type[Hop], text: str) -> None:
    assert requests(hop, lambda _: httpx.Response(200, text=text)) in (UNKNOWN, None), (
        "None: only the kernel was asked, which counts connections"
    )


def test_a_lame_duck_that_cannot_be_asked_is_unknown_or_needs_only_its_file(hop: type[Hop]) -> None:
    asked: list[httpx.Request] = []

    def refused(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return silence(request)

    unknown = ""
    try:
        ask(hop, lambda one: one.lame_duck(ALONE, on=True), refused)
    except Unknown as error:
        unknown = str(error)
    # Some software is asked at a socket in the folder of the instance.
    assert bool(unknown) is (bool(asked) or ALONE.name in unknown)
