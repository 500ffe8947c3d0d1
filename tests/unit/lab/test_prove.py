"""Whether two runs agree with a rule, and how an example is changed for this machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection

import pytest
from typer.testing import CliRunner

from changeover.audit.finding import Effect, Finding, violated
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.cli import proved
from changeover.cli.main import cli
from changeover.conf.place import Place
from changeover.lab import prove as lab
from changeover.lab.client import Outcome, Sent
from changeover.lab.demonstration import Demonstration, scaled_envoy, scaled_haproxy, scaled_nginx, scaled_words
from changeover.lab.demonstrations import ALL
from changeover.lab.prove import Proof, Run, disagreements, prove
from changeover.lab.software import Ports
from changeover.model.errors import ChangeoverError, fail

NOTHING_LOST = Run((Sent("GET", Outcome.OK, "200", 0.1), Sent("POST", Outcome.OK, "200", 0.1)))


def said(get: Effect, post: Effect) -> list[Finding]:
    return [violated(Place("a"), "it", "is wrong", get=get, post=post, consequence="", fix="")]


def losing(*methods: str) -> Run:
    return Run(
        tuple(Sent(one, Outcome.LOST if one in methods else Outcome.OK, "", 0.1) for one in ("GET", "POST")),
    )


def test_every_rule_has_a_demonstration_or_a_reason_why_it_has_none() -> None:
    assert [rule.id for rule in all_rules() if bool(rule.lab) == (rule.id in ALL)] == []
    assert set(ALL) <= {rule.id for rule in all_rules()}


def test_a_demonstration_that_does_not_end_is_stopped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    (rule,) = [one for one in all_rules() if one.id == "NGX03"]
    monkeypatch.setattr(lab, "LIMIT", 0.0)
    with pytest.raises(ChangeoverError, match="demonstration of NGX03 did not end within 0 s"):
        asyncio.run(prove(rule, ALL["NGX03"][0]))


def test_a_bad_example_that_loses_what_the_rule_says_agrees() -> None:
    assert disagreements(said(Effect.OK, Effect.CUT), losing("POST"), NOTHING_LOST) == []
    assert disagreements(said(Effect.RETRIED, Effect.ERROR), losing("POST"), NOTHING_LOST) == []
    assert disagreements(said(Effect.RETRIED, Effect.ERROR), losing("GET", "POST"), NOTHING_LOST) == []


@pytest.mark.parametrize(
    ("effects", "bad", "good", "word"),
    [
        ((Effect.OK, Effect.CUT), (), (), "the bad example loses nothing"),
        ((Effect.OK, Effect.CUT), ("GET", "POST"), (), "says that a GET survives"),
        ((Effect.CUT, Effect.CUT), ("POST",), (), "says that a GET is lost"),
        ((Effect.OK, Effect.REFUSED), ("GET",), (), "says that a POST is lost"),
        ((Effect.OK, Effect.CUT), ("POST",), ("POST",), "the good example loses 1"),
    ],
)
def test_examples_that_do_something_else_disagree(
    effects: tuple[Effect, Effect], bad: Collection[str], good: Collection[str], word: str
) -> None:
    assert any(word in one for one in disagreements(said(*effects), losing(*bad), losing(*good)))


def test_a_refused_connection_is_no_loss_and_a_count_replaces_losses() -> None:
    refused = Run((Sent("POST", Outcome.REFUSED, "", 0.0),))
    assert refused.harm == 0
    assert Run(losing("POST").sent, left=0).harm == 0
    assert disagreements(said(Effect.OK, Effect.DUPLICATED), Run((), left=0), Run((), left=0)) == [
        "the bad example loses nothing"
    ]


def test_times_are_divided_and_sizes_are_not() -> None:
    text = "worker_shutdown_timeout 10s; keepalive_time 1h; proxy_timeout 10m; client_max_body_size 10m; expires 30s;"
    assert scaled_nginx(text, 100) == (
        "worker_shutdown_timeout 100ms; keepalive_time 36000ms; proxy_timeout 6000ms; client_max_body_size 10m; "
        "expires 30s;"
    )
    assert scaled_haproxy("    hard-stop-after 30s\n    timeout client 5000\n    rate 10s\n", 100) == (
        "    hard-stop-after 300ms\n    timeout client 50ms\n    rate 10s\n"
    )
    assert scaled_words(("app:app", "--graceful-timeout", "440", "--threads", "8"), 100) == (
        *("app:app", "--graceful-timeout", "5"),
        *("--threads", "8"),
    )


def test_each_address_of_an_example_gets_a_port_and_a_listener_keeps_its_own() -> None:
    numbers = iter(range(20001, 20010))
    ports = Ports(lambda taken: next(numbers))
    ports.learn("listen 0.0.0.0:9000;")
    text = ports.here("listen 0.0.0.0:9000; proxy_pass http://10.0.0.5:9000; server 10.0.0.6:80; server 10.0.0.7:80;")
    assert text == (
        "listen 127.0.0.1:20001; proxy_pass http://127.0.0.1:20001; server 127.0.0.1:20002; server 127.0.0.1:20003;"
    )
    assert ports.origins == [20002, 20003]


@pytest.mark.parametrize(("rule", "word"), [("MIG01", "it needs Google Cloud"), ("XYZ01", "no rule is named XYZ01")])
def test_a_rule_without_a_demonstration_is_refused_with_the_reason(rule: str, word: str) -> None:
    result = CliRunner().invoke(cli, ["audit", "--prove", rule, "--json"])
    assert result.exit_code == 2
    assert word in json.loads(result.stdout)["error"][0]["what"]


def test_the_addresses_of_envoy_are_rewritten_too() -> None:
    numbers = iter(range(20001, 20010))
    ports = Ports(lambda taken: next(numbers))
    text = "{address: 0.0.0.0, port_value: 8080} {address: 10.0.0.5, port_value: 9000} stream_idle_timeout: 10s"
    ports.learn(text)
    assert ports.here(scaled_envoy(text, 100)) == (
        "{address: 127.0.0.1, port_value: 20001} {address: 127.0.0.1, port_value: 20002} stream_idle_timeout: 0.1s"
    )


def test_of_all_rules_those_whose_software_is_absent_are_named_and_the_code_is_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def absent(rule: Rule, shown: Demonstration) -> Proof:
        if rule.id == "NGX01":
            return Proof(rule, shown, losing("POST"), NOTHING_LOST, ())
        raise fail("HAProxy is not installed")

    monkeypatch.setattr(proved, "prove", absent)
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["audit", "--prove", "all"])
    assert result.exit_code == 2
    assert "HAP01 not demonstrated: HAProxy is not installed" in result.stdout
    assert "1 of 2 requests lost" in result.stdout
    assert CliRunner().invoke(cli, ["audit", "--prove", "HAP01"]).exit_code == 2
