"""Addresses of webhooks and services: where they are found, and that messages never show them."""

from __future__ import annotations

import pytest

from changeover.engine.hooks.addresses import service_address, web_address
from changeover.kit.redact import Redactor

ENVIRON = {"HOOK": "https://user:s3cr3t@host/t0ken", "CHAT": "slack://t0ken/s3cr3t", "EMPTY": " "}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://user:s3cr3t@host:8443/t0ken?key=s3cr3t", "https://host:8443"),
        ("HTTP://host/t0ken", "HTTP://host"),
        ("env:HOOK", "env:HOOK"),
    ],
)
def test_a_webhook_is_shown_by_its_host_or_its_variable(given: str, shown: str) -> None:
    redactor = Redactor()
    address = web_address(given, ENVIRON, redactor)
    assert (address.shown, address.problem) == (shown, "")
    assert "s3cr3t" not in repr(address)
    assert "t0ken" not in repr(address)
    assert "t0ken" not in redactor(f"cannot connect to {address.url}")


@pytest.mark.parametrize(("given", "shown"), [("slack://t0ken/s3cr3t", "slack://***"), ("env:CHAT", "env:CHAT")])
def test_a_service_is_shown_by_its_kind_or_its_variable(given: str, shown: str) -> None:
    redactor = Redactor()
    address = service_address(given, ENVIRON, redactor)
    assert (address.url, address.shown) == ("slack://t0ken/s3cr3t", shown)
    assert "s3cr3t" not in repr(address)
    assert "s3cr3t" not in redactor("no such channel: s3cr3t")


@pytest.mark.parametrize("given", ["env:MISSING", "env:EMPTY"])
def test_a_variable_that_is_not_set_is_named(given: str) -> None:
    for find in (web_address, service_address):
        problem = find(given, ENVIRON, Redactor()).problem
        assert problem == f"cannot be reached: environment variable {given.removeprefix('env:')} is not set"


def test_a_variable_that_holds_no_web_address_is_named_and_its_value_is_not() -> None:
    address = web_address("env:CHAT", ENVIRON, Redactor())
    assert (address.problem, address.url) == ("cannot be reached: env:CHAT holds no http or https URL", "")
