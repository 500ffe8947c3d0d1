"""Addresses of webhooks and services: found in the chain file or the environment, and secret from then on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from changeover.kit.redact import SHOWN, Redactor
from changeover.model.hooks import FROM_ENVIRONMENT, is_web_address

_ORIGIN = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#@]*)", re.IGNORECASE)


@dataclass(frozen=True)
class HookAddress:
    """An address, how messages show it, and why it cannot be used (empty when it can)."""

    shown: str
    url: str = field(default="", repr=False)
    problem: str = ""


NO_ADDRESS = HookAddress("")
"""Of a hook that is a command."""


def web_address(given: str, environ: Mapping[str, str], redactor: Redactor) -> HookAddress:
    """The address of a webhook. Messages show its variable, or its host without user and path."""
    shown = "".join(match.groups()) if (match := _ORIGIN.match(given)) else SHOWN
    address = _look_up(given, shown, environ, redactor)
    if not address.problem and not is_web_address(address.url):
        return HookAddress(address.shown, problem=f"cannot be reached: {address.shown} holds no http or https URL")
    return address


def service_address(given: str, environ: Mapping[str, str], redactor: Redactor) -> HookAddress:
    """The address of a service that Apprise knows. Messages show its variable, or its kind."""
    return _look_up(given, given.partition("://")[0] + "://" + SHOWN, environ, redactor)


def _look_up(given: str, shown: str, environ: Mapping[str, str], redactor: Redactor) -> HookAddress:
    url = given
    if given.startswith(FROM_ENVIRONMENT):
        shown, name = given, given.removeprefix(FROM_ENVIRONMENT)
        url = environ.get(name, "").strip()
        if not url:
            return HookAddress(shown, problem=f"cannot be reached: environment variable {name} is not set")
    redactor.learn(url, open=shown)
    return HookAddress(shown, url)
