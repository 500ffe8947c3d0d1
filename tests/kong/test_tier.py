"""Kong as a tier of the chain, rolled like any other: the `kong` that CHANGEOVER_KONG_BINARY names, or the double's."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chain.chains import Chain, Command, SlowUpload, chain_file, running_in, tier_of
from tests.kong.kongs import have_kong

Described = dict[str, Any]


def with_kong(given: Described) -> None:
    """A change: a chain of a Kong and an application."""
    gateway, runtime = tier_of(given, "gateway"), tier_of(given, "runtime")
    gateway |= {"kind": "kong", "size": 1, "templates": {"v1": {}, "v2": {"retries": 2}}}
    for template in gateway["templates"].values():
        template["keepalive_time"] = "500ms"
    runtime["size"] = 1
    given["tiers"] = [gateway, runtime]


@pytest.fixture(scope="module")
def with_a_kong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A `kong`, first on PATH; and a stray setting in the environment, which must not count."""
    with pytest.MonkeyPatch.context() as environment:
        have_kong(tmp_path_factory.mktemp("bin"), environment)
        environment.setenv("KONG_ADMIN_LISTEN", "0.0.0.0:8001")
        yield


@pytest.fixture(scope="module")
def chain(with_a_kong: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("kong")
    found = Chain(folder, chain_file(folder, with_kong))
    found.state = folder / "s"  # Kong cannot have a space there, and no long path
    try:
        found.up()
        yield found
    finally:
        if running_in(folder):
            found.run("down")
        assert not running_in(folder)


def traffic(chain: Chain) -> Command:
    uploads = ("--uploads", 2, "--upload-size", "600KB", "--upload-time", "600ms")
    probe = chain.start("probe", "--rate", 20, "--connections", 2, *uploads, "--json")
    probe.says(" 2 in flight")
    return probe


def test_the_runtime_is_rolled_behind_it_and_nothing_is_lost(chain: Chain) -> None:
    goal = chain.other("runtime")
    probe = traffic(chain)
    assert chain.roll("runtime", goal)["outcome"] == "completed"
    assert probe.signal(signal.SIGTERM).end().code == 0
    chain.serves("runtime", goal)


def test_kong_is_rolled_with_an_upload_on_its_way_and_nothing_is_lost(chain: Chain) -> None:
    probe = traffic(chain)
    with SlowUpload(chain, 600_000) as upload:
        upload.arrives()
        (node,) = chain.instances("gateway")
        assert node["in_flight"]["requests"] >= 1
        assert node["in_flight"]["connections"] >= 1
        roll = chain.start("roll", "gateway", "--to", chain.other("gateway"), "--json")
        roll.says("draining")
        upload.finish()
        assert roll.end(0).json["outcome"] == "completed"
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    assert probe.signal(signal.SIGTERM).end().code == 0


def test_what_is_rendered_while_it_is_up_has_the_instances_that_serve(chain: Chain) -> None:
    (upstream,) = chain.here("render", "kong", "-f", chain.file, "--json").json["upstreams"]
    serving = {one["name"]: one["address"] for one in chain.instances("runtime", phase="admitted")}
    assert {one["tags"][0]: one["target"] for one in upstream["targets"]} == serving


def test_without_a_kong_the_chain_is_not_started_and_the_error_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("kong", path="/usr/local/bin:/usr/bin"):
        pytest.skip("there is one")
    monkeypatch.setenv("PATH", "/usr/sbin:/usr/bin:/bin:/sbin")
    chain = Chain(tmp_path, chain_file(tmp_path, with_kong))
    reported = chain.here("up", "-f", chain.file, code=2)
    assert "a tier of kind kong needs the program kong, which is not installed" in reported.err
    assert "Install Kong Gateway 3.9 or newer from its package" in reported.err
    assert "or use `kind: envoy` instead" in reported.err
    assert not running_in(tmp_path)
