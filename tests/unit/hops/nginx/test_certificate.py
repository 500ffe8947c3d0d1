"""Which of its two files an nginx reads, and which one a renewal may replace."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace as replace_in
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from tests.unit.hops.contexts import instance, launch_context

from changeover.hops.nginx.certificate import FILES, MAP, MARGIN, PERIOD, first, replace
from changeover.hops.nginx.hop import NginxHttp
from changeover.hops.nginx.settings import HttpSettings
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import PRIVATE
from changeover.ports import CannotStart

PERIODS = 1_795_902_030.0, 1_795_902_040.0
"""Beginnings of two, one after the other."""


def read_at(now: float) -> str:
    """The file that nginx reads then, by its configuration."""
    found = re.search(r'default private/(\S+); "~(\S+)" private/(\S+);', MAP)
    assert found
    return found[3] if re.search(found[2], f"{now:.3f}") else found[1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / PRIVATE).mkdir()
    for name in FILES:
        (tmp_path / PRIVATE / name).write_text("old")
        (tmp_path / PRIVATE / name).chmod(0o600)
    return tmp_path


def served(home: Path, now: float) -> str:
    return (home / PRIVATE / read_at(now)).read_text()


@pytest.mark.parametrize("begin", PERIODS)
def test_no_file_is_replaced_that_nginx_reads_or_is_about_to_read(home: Path, begin: float) -> None:
    before = {at: served(home, at) for at in (begin, begin + PERIOD - 0.001)}
    for early_or_late in (0.0, MARGIN - 0.1, PERIOD - MARGIN + 0.1, PERIOD - 0.001):
        assert not replace(home, "new", begin + early_or_late)
        assert {(home / PRIVATE / name).read_text() for name in FILES} == {"old"}
    assert not replace(home, "new", begin + PERIOD / 2)
    assert {at: served(home, at) for at in before} == before
    assert served(home, begin + PERIOD) == "new"


def test_a_renewal_is_done_after_two_periods(home: Path) -> None:
    first, second = PERIODS
    assert not replace(home, "new", first + PERIOD / 2)
    assert replace(home, "new", second + PERIOD / 2)
    assert not replace(home, "new", second + PERIOD / 2 + 1)
    assert {(home / PRIVATE / name).read_text() for name in FILES} == {"new"}
    assert {(home / PRIVATE / name).stat().st_mode & 0o777 for name in FILES} == {0o600}


def test_an_instance_without_such_files_is_left_alone(tmp_path: Path) -> None:
    assert not replace(tmp_path, "new", PERIODS[0] + PERIOD / 2)
    assert not list(tmp_path.iterdir())


def test_an_instance_starts_with_a_certificate_that_has_expired(tmp_path: Path) -> None:
    """Clients can see that. An edge that does not start after a reboot serves none of them."""
    made = trustme.CA().issue_cert("a.example", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    made.cert_chain_pems[0].write_to_path(tmp_path / "a.pem")
    made.private_key_pem.write_to_path(tmp_path / "a.key")
    assert set(first(tmp_path / "a.pem", tmp_path / "a.key")) == set(FILES)


def test_an_instance_does_not_start_with_a_key_of_another_certificate(tmp_path: Path) -> None:
    authority = trustme.CA()
    made, other = authority.issue_cert("a.example"), authority.issue_cert("a.example")
    made.cert_chain_pems[0].write_to_path(tmp_path / "a.pem")
    other.private_key_pem.write_to_path(tmp_path / "a.key")
    settings = HttpSettings.model_validate({"tls": {"certificate": f"{tmp_path}/a.pem", "key": f"{tmp_path}/a.key"}})
    launch = NginxHttp.launch(NginxHttp.__new__(NginxHttp), settings, launch_context(outermost=True))
    assert launch.private is not None
    with pytest.raises(CannotStart, match=r"a\.pem cannot be served: the key does not belong to the certificate"):
        launch.private()
    made.private_key_pem.write_to_path(tmp_path / "a.key")
    assert set(launch.private()) == set(FILES)
    assert "PRIVATE KEY" not in repr(launch) + "".join(launch.files.values())


def test_a_configuration_of_ones_own_whose_certificate_was_renewed_is_reported_once(tmp_path: Path) -> None:
    """nginx has read it already: a restart of the tier is the way."""
    file, home = tmp_path / "edge.pem", tmp_path / "edge-v1-1"
    home.mkdir()
    file.write_text("old")
    (home / "instance.json").write_text("{}")
    text = f"http {{ server {{ ssl_certificate {file}; ssl_certificate_key {file}; ssl_certificate own.pem; }} }}"
    hop = NginxHttp(DirectClient())
    hop.learn({"v1": HttpSettings.model_validate({"config": {"path": "nginx.conf", "files": {"nginx.conf": text}}})})
    one = replace_in(instance(), directory=str(home))
    os.utime(file, (1000, 1000))
    assert not asyncio.run(hop.renew(one, 0))
    os.utime(file, (4e9, 4e9))
    (report,) = asyncio.run(hop.renew(one, 0))
    assert report.startswith(f"the certificate {file} was renewed, and this instance serves the earlier one")
    assert "`changeover roll edge --restart`" in report
    assert not asyncio.run(hop.renew(one, 0))
    file.unlink()
    assert not asyncio.run(hop.renew(replace_in(one, name="edge-v1-2"), 0))
