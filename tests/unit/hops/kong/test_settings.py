"""What Kong refuses, the chain file refuses first: values tried with Kong 3.9.1, and limits of its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from changeover import chain_files
from changeover.hops.kong.settings import KongSettings
from changeover.model.errors import ChangeoverError

APP: dict[str, Any] = {"name": "runtime", "kind": "app", "templates": {"v1": {}}}


def read(folder: Path, template: dict[str, Any], **behind: Any) -> KongSettings:
    """The settings of a Kong with that template, in front of an application with these keys."""
    gateway = {"name": "gateway", "kind": "kong", "templates": {"v1": template}}
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": [gateway, {**APP, **behind}]}))
    settings = chain_files.read_chain(file)[0].settings["gateway"]["v1"]
    assert isinstance(settings, KongSettings)
    return settings


NO_PATHS = ("/a//b", "//", "/a/./b", "/a/../b", "/..", "/a b", "/a%20b", "/a?b", "/a#b", "/\u00e4", "/a{b", "a")


@pytest.mark.parametrize(
    ("template", "where"),
    [
        *(({"routes": [{"path": path}]}, "routes.0.path") for path in NO_PATHS),
        ({"routes": [{"path": "/a"}, {"path": "/a"}]}, "routes have the path /a"),
        *(({key: "0.4ms"}, f"{key}: the shortest time is 1ms") for key in ("connect_timeout", "response_timeout")),
        *(({key: "1000h"}, key) for key in ("connect_timeout", "response_timeout")),
        ({"upstream_keepalive_timeout": "300ms"}, "upstream_keepalive_timeout"),
        ({"upstream_keepalive_timeout": "1500ms"}, "whole seconds"),
        ({"keepalive_time": "0.1ms"}, "keepalive_time"),
    ],
)
def test_a_template_that_kong_would_refuse_is_refused_with_its_place(
    tmp_path: Path, template: dict[str, Any], where: str
) -> None:
    with pytest.raises(ChangeoverError) as error:
        read(tmp_path, template)
    assert where in str(error.value)


@pytest.mark.parametrize(
    ("behind", "where"),
    [
        ({"health": {"rise": 300}}, "health.rise"),
        ({"health": {"fall": 256}}, "health.fall"),
        ({"health": {"interval": "19h"}}, "health.interval"),
        ({"health": {"timeout": "19h"}}, "health.timeout"),
        ({"name": "runtime-"}, "tiers.1.name"),
        (
            {"affinity": {"cookie": "connect.sid"}},
            "kong, the router of runtime, takes no cookie of the name connect.sid",
        ),
        ({"affinity": {"header": "X.User"}}, "kong, the router of runtime, takes no header of the name X.User"),
    ],
)
def test_a_tier_behind_kong_that_kong_would_refuse_is_refused_with_its_place(
    tmp_path: Path, behind: dict[str, Any], where: str
) -> None:
    with pytest.raises(ChangeoverError) as error:
        read(tmp_path, {}, **behind)
    assert where in str(error.value)


def test_what_kong_takes_is_accepted(tmp_path: Path) -> None:
    paths = ["/", "/a/b", "/a/", "/~user", "/a.b/..c", "/a:b@c!$&'()*+,=-_"]
    settings = read(tmp_path, {"routes": [{"path": path} for path in paths], "connect_timeout": "1ms"})
    assert [route.path for route in settings.routes] == paths
    assert read(tmp_path, {}, health={"rise": 255, "fall": 255}, affinity={"header": "X_User"})
