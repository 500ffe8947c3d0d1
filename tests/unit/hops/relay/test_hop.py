"""How a relay is started. What it says of itself is understood as an application's answers are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
from pydantic import ValidationError
from tests.unit.hops.contexts import launch_context

from changeover.cli.commands.relay import relay
from changeover.hops.relay.hop import Relay
from changeover.hops.relay.settings import RelaySettings
from changeover.kit.direct_http import DirectClient
from changeover.relay.config import RelayConfig, RoutePattern
from changeover.uploads.core.timing import UploadTiming


def options(**settings: Any) -> dict[str, Any]:
    """What the process is started with, option by option."""
    given = RelaySettings.model_validate({"segment": ["POST /upload"], **settings})
    _, *module, text = Relay(DirectClient()).launch(given, launch_context()).argv
    assert module == ["-m", "changeover.relay"]
    found: dict[str, Any] = json.loads(text)
    return found


def test_it_stands_at_its_place_and_sends_to_the_stable_address_of_the_tier_behind() -> None:
    assert options(replay=["PUT /x", "POST /y"], budget="64MiB", patience="2m", keepalive_time="500ms") == {
        "upstream": "127.0.0.1:20100",
        "listen": ["127.0.0.1:20001"],
        "segment": ["POST /upload"],
        "replay": ["PUT /x", "POST /y"],
        "admin": "127.0.0.1:20002",
        "control": "",
        "take_over": False,
        "reuse_port": False,
        "proxy_protocol": False,
        "proxies": ["127.0.0.0/8"],
        "trusted_peers": None,
        "hidden_path": [],
        "lame_duck_file": "/state/instances/edge-v1-1/lame-duck",
        "budget": 64,
        "patience": 120.0,
        "keepalive_time": 0.5,
        "keepalive_timeout": 1.0,
    }


def test_the_process_gets_every_option_of_the_command() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(relay)
    assert set(options()) == {parameter.name for parameter in typer.main.get_command(app).params}


def test_a_template_and_the_command_have_the_same_defaults() -> None:
    template, process = RelaySettings(segment=()), RelayConfig(("", 0))
    assert (template.budget, template.patience) == (process.budget, process.patience)
    assert (template.keepalive_time, template.keepalive_timeout) == (process.pooling.life, process.pooling.idle)


@pytest.mark.parametrize("text", ["POST /upload", "PUT /a%20b", "POST /"])
def test_a_route_of_a_template_is_one_to_the_command(text: str) -> None:
    assert options(segment=[text])["segment"] == [text]
    RoutePattern.parse(text)


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
    several = 5 * UploadTiming().handler_lease
    assert min(RelayConfig(("", 0)).patience, RelaySettings(segment=()).patience) > several


def test_it_stands_in_front_of_something() -> None:
    with pytest.raises(ValueError, match="needs a tier behind it"):
        Relay(DirectClient()).launch(RelaySettings(segment=()), launch_context(behind=()))
