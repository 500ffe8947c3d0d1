"""The files that a configuration of the user's own names: which of them belong to the template."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.hops.contexts import launch_context, tier
from tests.unit.hops.envoy import test_own_config as envoy_configs
from tests.unit.hops.haproxy import test_own_config as haproxy_configs

from changeover.hops.envoy.hop import Envoy
from changeover.hops.haproxy.hop import HaproxyHttp
from changeover.kit.direct_http import DirectClient
from changeover.model.chain import Chain, content_hash
from changeover.model.errors import ChangeoverError
from changeover.model.instance import LaunchSpec
from changeover.platforms.local.launch_files import write_files
from changeover.platforms.local.output import check_now

FILES = {
    "maps/hosts.map": "a.example app\n",
    "errors/503.http": "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n",
    "down.html": "<p>down",
    "known.lst": "192.0.2.1\n",
    "own.lua": "-- nothing\n",
}
HAPROXY = (
    haproxy_configs.PLAIN.replace("maxconn 100", "maxconn 100\n    lua-load own.lua")
    .replace("timeout connect 2s", "timeout connect 2s\n    errorfile 503 errors/503.http")
    .replace(
        "    default_backend app",
        "    acl known src -f known.lst\n"
        '    http-request return status 200 content-type "text/html" file down.html if { path /down }\n'
        "    use_backend %[req.hdr(host),map(maps/hosts.map,app)] if known\n    default_backend app",
    )
)


def write(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")


def check(launch: LaunchSpec, folder: Path) -> None:
    write_files(launch, folder)
    check_now(launch, folder, {}, 20)


def test_files_that_a_haproxy_cfg_names_by_relative_paths_are_those_of_its_template(tmp_path: Path) -> None:
    write(tmp_path)
    settings = haproxy_configs.read(tmp_path, HAPROXY)
    assert dict(settings.config.files) == FILES
    home = tmp_path / "of the instance"
    check(haproxy_configs.launched(settings), home)
    assert {name: (home / name).read_bytes().decode() for name in FILES} == FILES

    (tmp_path / "maps/hosts.map").write_text("b.example app\n")
    assert content_hash("haproxy", settings) != content_hash("haproxy", haproxy_configs.read(tmp_path, HAPROXY))
    kept = HaproxyHttp.with_files(settings, tier("haproxy"), Chain.model_construct(tiers=()), tmp_path)
    assert dict(kept.config.files) == FILES  # an undo starts what ran before


def test_files_that_a_bootstrap_names_by_relative_paths_are_those_of_its_template(tmp_path: Path) -> None:
    write(tmp_path)
    route = "route: {cluster: runtime}"
    page = f"direct_response: {{status: 200, body: {{filename: down.html}}}}\n{' ' * 24}- match: {{prefix: /}}\n"
    text = envoy_configs.PLAIN.replace(route, f"{page}{' ' * 26}{route}", 1)
    settings = envoy_configs.read(tmp_path, text)
    assert settings.config is not None
    assert dict(settings.config.files) == {"down.html": "<p>down"}
    check(Envoy(DirectClient()).launch(settings, launch_context()), tmp_path / "of the instance")


def test_other_files_stay_where_they_are(tmp_path: Path) -> None:
    write(tmp_path)
    text = (
        haproxy_configs.PLAIN.replace("maxconn 100", f"maxconn 100\n    lua-load {tmp_path}/own.lua")
        .replace("# the only one", "ssl crt edge.pem")
        .replace("timeout connect 2s", "timeout connect 2s\n    errorfile 503 CHANGEOVER_FOLDER/errors/503.http")
    )
    (tmp_path / "edge.pem").write_text("a certificate is renewed where it is")
    assert not haproxy_configs.read(tmp_path, text).config.files


@pytest.mark.parametrize("name", ["../down.html", "log"])
def test_a_file_without_a_place_in_the_folder_of_an_instance_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "chain"
    folder.mkdir()
    (folder / name).write_text("<p>down")
    text = haproxy_configs.PLAIN.replace(
        "    default_backend",
        f"    http-request return status 200 file {name} if {{ path /down }}\n    default_backend",
    )
    with pytest.raises(ChangeoverError, match="has no place in the folder of an instance"):
        haproxy_configs.read(folder, text)
