"""KNG07: a limit of Kong is smaller than the upload."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from changeover.audit import words
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.hops.kong import Kong
from changeover.audit.lines import kong_line
from changeover.audit.rule import KONG, Rule
from changeover.audit.setting import Replacement, Setting
from changeover.audit.view import View
from changeover.conf.nginx import values
from changeover.conf.tree import Map

UNITS = {"megabytes": 2**20, "kilobytes": 2**10, "bytes": 1}
"""Of `size_unit`."""


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    for hop in view.of(Kong):
        for plugin in hop.each("plugins"):
            if plugin.text("name") != "request-size-limiting" or plugin.flag("enabled") is False:
                continue
            config, given = plugin.get("config"), plugin.number("config", "allowed_payload_size")
            if plugin.get("config", "allowed_payload_size") is not None and given is None:
                yield unknown(plugin.place, "plugin request-size-limiting", "its limit cannot be read", "its limit")
                continue
            unit = plugin.text("config", "size_unit") or "megabytes"
            most = (128 if given is None else given) * UNITS.get(unit, 2**20)
            keys = config.keys if isinstance(config, Map) else {}
            text = f"allowed_payload_size {given:g} {unit}" if given is not None else "allowed_payload_size is 128 MB"
            enough = ceil(asked.upload / UNITS.get(unit, 2**20))
            yield _judged(
                Setting(most, keys.get("allowed_payload_size", plugin.place), text),
                "plugin request-size-limiting",
                asked,
                f"allowed_payload_size: {enough}",
                Replacement("allowed_payload_size", f"{given:g}", f"{enough}") if given is not None else None,
            )
        for key in ("nginx_http_client_max_body_size", "nginx_proxy_client_max_body_size"):
            if key in hop.settings:
                body = hop.setting(key, values.size, 0, "0")
                size = f"{ceil(asked.upload / 2**20)}m"
                if body.value is None:
                    yield unknown(body.place, key, body.text, body.missing)
                else:
                    limit = Setting(body.value or float("inf"), body.place, body.text)
                    written = kong_line(key, hop.settings[key], body.place.file, size)
                    yield _judged(limit, key, asked, written, body.replaced(size))


def _judged(
    limit: Setting[float], object: str, asked: Assumptions, fix: str, replacement: Replacement | None
) -> Finding:
    if (limit.value or 0) >= asked.upload:
        return met(limit.place, object, limit.text)
    return violated(
        limit.place,
        object,
        f"{limit.text}: smaller than a {words.size(asked.upload)} upload",
        get=Effect.OK,
        post=Effect.REFUSED,
        consequence="a GET is answered; the POST is answered with 413",
        fix=fix,
        numbers={"limit_bytes": limit.value, "upload_bytes": asked.upload},
        replacement=replacement,
    )


RULE = Rule(
    id="KNG07",
    name="kong-body-size",
    severity=Severity.ERROR,
    what="`request-size-limiting`, or `client_max_body_size` of Kong's nginx, is smaller than the largest upload.",
    why="Kong answers a larger request with 413. The plugin's limit is in megabytes of 2^20 bytes unless "
    "`size_unit` says otherwise, and 128 by default; that of nginx is off by default.",
    sources=(
        "https://developer.konghq.com/plugins/request-size-limiting/reference/",
        "https://developer.konghq.com/gateway/configuration/#nginx-http-client-max-body-size",
    ),
    bad={
        "kong.yml": """\
_format_version: "3.0"
plugins:
- name: request-size-limiting
  config:
    # expect: KNG07
    allowed_payload_size: 10
""",
    },
    good={
        "kong.yml": """\
_format_version: "3.0"
plugins:
- name: request-size-limiting
  config:
    allowed_payload_size: 64
""",
    },
    fix="Set `allowed_payload_size` above the largest upload.",
    check=check,
    lab=KONG,
)
