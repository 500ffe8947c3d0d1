"""HAProxy reads the files of every -f as one: sections inherit, and name each other, across them."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.audit.hops.haproxy import Haproxy

GLOBAL = (
    "global\n    hard-stop-after 10s\ndefaults\n    mode http\n    timeout client 30s\n    timeout http-keep-alive 7s\n"
)
FRONT = "frontend web\n    bind :80\n    default_backend app\n"
BACK = "backend app\n    server a 10.0.0.5:9000\n"
OTHER = "backend other\n    server a 10.0.0.6:9000\n"
UNIT = "[Service]\nExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d\n"


def hops(files: dict[str, str]) -> list[Haproxy]:
    return list(audited(files).view.of(Haproxy))


@pytest.mark.parametrize(
    "files",
    [
        {"haproxy.cfg": GLOBAL, "conf.d/10-web.cfg": FRONT, "conf.d/20-app.cfg": BACK, "haproxy.service": UNIT},
        {"conf.d/20-app.cfg": BACK, "conf.d/10-web.cfg": FRONT, "haproxy.service": UNIT, "haproxy.cfg": GLOBAL},
        {"front.cfg": GLOBAL + FRONT, "back.cfg": BACK},
        {"back.cfg": BACK, "other.cfg": OTHER, "front.cfg": GLOBAL + FRONT},
        {
            "compose.yml": "services:\n  a:\n    image: haproxy\n    command: haproxy -f a.cfg -f b.cfg\n",
            "a.cfg": GLOBAL + FRONT,
            "b.cfg": BACK,
        },
    ],
)
def test_files_of_one_configuration_are_read_together(files: dict[str, str]) -> None:
    (hop,) = hops(files)
    assert [str(address) for target in hop.targets for address in target.addresses] == ["10.0.0.5:9000"]
    assert (hop.http, hop.idle.value, hop.hard_stop.value) == (True, 7, 10)


def test_a_backend_in_no_given_file_is_unknown() -> None:
    found = audited({"front.cfg": GLOBAL + FRONT})
    assert [one.name for _, one in found.view.unjoined] == ["backend app"]
    (one,) = [
        one.finding for one in found.of(Outcome.UNKNOWN) if one.rule.id == "CHN01" and "app" in one.finding.object
    ]
    assert one.missing == "the file that has `backend app`"


def test_a_backend_that_two_files_have_is_not_guessed() -> None:
    (hop,) = hops({"front.cfg": GLOBAL + FRONT, "a.cfg": GLOBAL + BACK, "b.cfg": GLOBAL + BACK})
    assert [target.addresses for target in hop.targets] == [()]


def test_a_backend_whose_name_each_request_decides_is_unknown() -> None:
    files = {"haproxy.cfg": GLOBAL + "frontend web\n    bind :80\n    use_backend %[req.hdr(host)]\n" + BACK}
    (hop,) = hops(files)
    assert [(one.name, one.pool_idle.missing) for one in hop.targets] == [
        ("backend %[req.hdr(host)]", "which backends %[req.hdr(host)] names")
    ]


def test_two_configurations_stay_two() -> None:
    whole = GLOBAL + FRONT + BACK
    assert len(hops({"a/haproxy.cfg": whole, "b/haproxy.cfg": whole.replace(":80", ":81")})) == 2


BASE = "global\n    hard-stop-after 10s\ndefaults base\n    timeout client 30s\n"
HTTP = "defaults http from base\n    mode http\n    timeout http-keep-alive 7s\n"
FROM = "frontend web from http\n    bind :80\n    default_backend app\n"
APP = "backend app from http\n    server a 10.0.0.5:9000\n"


@pytest.mark.parametrize(
    "files",
    [
        {"a.cfg": BASE + HTTP, "b.cfg": FROM + APP},
        {"a.cfg": BASE, "b.cfg": HTTP + FROM, "c.cfg": APP},
        {"haproxy.cfg": BASE, "conf.d/10.cfg": HTTP, "conf.d/20.cfg": FROM, "conf.d/30.cfg": APP, "h.service": UNIT},
    ],
)
def test_a_section_has_the_defaults_that_it_names_in_another_file(files: dict[str, str]) -> None:
    (hop,) = hops(files)
    assert (hop.http, hop.idle.value, hop.hard_stop.value) == (True, 7, 10)
    assert [str(address) for target in hop.targets for address in target.addresses] == ["10.0.0.5:9000"]


def test_what_defaults_in_no_given_file_may_set_is_unknown() -> None:
    (hop,) = hops({"b.cfg": FROM + APP})
    assert (hop.idle.value, hop.idle.missing) == (None, "the file that has `defaults http`")
    assert [target.pool_idle.value for target in hop.targets] == [None]


def test_sections_may_stand_indented() -> None:
    text = "".join(f"    {line}\n" for line in (GLOBAL + FRONT + BACK).splitlines())
    (hop,) = hops({"haproxy.cfg": f"# a proxy\n{text}"})
    assert (hop.http, hop.idle.value, hop.hard_stop.value) == (True, 7, 10)
