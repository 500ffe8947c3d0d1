"""How a relay is started. What it says of itself is understood as an application's answers are."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import typer
from pydantic import ValidationError
from tests.unit.hops.places import place

from changeover.cli.commands.relay import relay
from changeover.hops.relay.hop import Relay
from changeover.hops.relay.settings import RelaySettings
from changeover.relay.process.settings import Route, Settings
from changeover.uploads.core import lease


def options(**settings: Any) -> dict[str, list[str]]:
    """What the command is told, option by option."""
    said = RelaySettings.model_validate({"segment": ["POST /upload"], **settings})
    argv = Relay(httpx.AsyncClient()).launch(said, place()).argv
    assert argv[1:3] == ("-m", "changeover.cli.commands.relay")
    found: dict[str, list[str]] = {}
    for name, value in zip(argv[3::2], argv[4::2], strict=True):
        found.setdefault(name, []).append(value)
    return found


def test_it_stands_at_its_place_and_sends_to_the_stable_address_of_the_tier_behind() -> None:
    assert options(replay=["PUT /x", "POST /y"], budget="64MiB", patience="2m", keepalive_time="500ms") == {
        "--listen": ["127.0.0.1:20001"],
        "--upstream": ["127.0.0.1:20100"],
        "--admin": ["127.0.0.1:20002"],
        "--lame-duck-file": ["/state/instances/edge-v1-1/lame-duck"],
        "--segment": ["POST /upload"],
        "--replay": ["PUT /x", "POST /y"],
        "--budget": ["64"],
        "--patience": ["120.0"],
        "--keepalive-time": ["0.5"],
        "--keepalive-timeout": ["1.0"],
    }


def test_the_command_knows_every_option() -> None:
    app = typer.Typer()
    app.command()(relay)
    known = {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
    assert set(options(replay=["PUT /x"])) <= known


@pytest.mark.parametrize("text", ["POST /upload", "PUT /a%20b", "POST /"])
def test_a_route_of_a_template_is_one_to_the_command(text: str) -> None:
    assert options(segment=[text])["--segment"] == [text]
    Route.parse(text)


@pytest.mark.parametrize(
    "text", ["", "POST", "/upload", "POST upload", "post /upload", "POST /a b", "POST  /a", "P /ü"]
)
def test_what_is_no_route_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        RelaySettings.model_validate({"segment": [text]})


def test_a_template_has_to_say_what_is_segmented() -> None:
    with pytest.raises(ValidationError, match="segment"):
        RelaySettings.model_validate({})


def test_it_waits_until_others_than_an_application_that_died_were_asked() -> None:
    several = 5 * lease.LEASE
    assert min(Settings(("", 0)).patience, RelaySettings(segment=()).patience) > several


def test_it_stands_in_front_of_something() -> None:
    with pytest.raises(ValueError, match="needs a tier behind it"):
        Relay(httpx.AsyncClient()).launch(RelaySettings(segment=()), place(inner=None, inner_tier=None))
