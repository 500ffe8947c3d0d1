from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from changeover.cli import exits
from changeover.cli.main import cli

EXAMPLE = Path(__file__).parents[4] / "examples" / "01-four-tiers" / "chain.yaml"


def simulate(*options: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", "-f", str(EXAMPLE), *options])


def test_every_tier_is_rolled_the_last_one_first() -> None:
    result = simulate("--json")
    assert result.exit_code == exits.DONE
    told = json.loads(result.stdout)
    assert [tier["tier"] for tier in told["tiers"]] == ["runtime", "gateway", "l4", "edge"]
    assert told["seconds"] == pytest.approx(sum(tier["seconds"] for tier in told["tiers"]), abs=0.01)
    assert told["assumptions"]["upload-size"] == "50MB~2"
    assert told["clean"] is True


def test_what_is_assumed_can_be_given_again() -> None:
    once = json.loads(simulate("runtime", "--json", "--start-time", "5s~2", "--failures", "2h", "--seed", "7").stdout)
    options = [word for name, value in once["assumptions"].items() for word in (f"--{name}", str(value))]
    assert json.loads(simulate("runtime", "--json", *options, "--seed", "7").stdout) == once


def test_the_command_line_goes_before_the_file() -> None:
    result = simulate(
        *("runtime", "--size", "2000", "--surge", "25%", "--unavailable", "1%", "--json"),
        *("--drain-deadline", "10s", "--policy", "cut", "--min-ready", "3s"),
    )
    assert result.exit_code == exits.ROLLED_BACK
    (tier,) = json.loads(result.stdout)["tiers"]
    assert (tier["size"], tier["surge"], tier["unavailable"], tier["min_ready_seconds"]) == (2000, 500, 20, 3)
    assert (tier["drain_deadline_seconds"], tier["cut_at_deadline"], tier["completed"]) == (10, True, 1)
    assert tier["max_instances"] == 2500
    assert tier["min_serving"] == 1980
    assert tier["cut_uploads"] > 0


def test_of_several_runs_the_means_and_extremes_are_told() -> None:
    (one,) = json.loads(simulate("runtime", "--runs", "5", "--json").stdout)["tiers"]
    assert one["min_seconds"] < one["seconds"] < one["max_seconds"]
    assert one["runs"] == one["completed"] == 5
    assert "to" in simulate("runtime", "--runs", "5").stdout


def test_a_rollout_that_would_be_undone_is_told_with_its_reason() -> None:
    result = simulate("runtime", "--start-failures", "1")
    assert result.exit_code == exits.ROLLED_BACK
    assert "runtime undone: runtime-new-5 did not start" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["nope"], "there is no tier nope"),
        (["--surge", "0"], "no instance can be replaced"),
        (["--surge", "some"], "a whole number of instances or a percentage"),
        (["--look", "0s"], "the time must be above 0"),
        (["--client-rate", "0"], "the rate must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], said: str) -> None:
    result = simulate(*options)
    assert result.exit_code == exits.COULD_NOT
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_progress_is_for_terminals() -> None:
    assert simulate("runtime").stderr == ""
