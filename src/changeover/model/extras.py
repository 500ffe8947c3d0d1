"""The optional parts of the installation: which extra brings the package that a feature needs.

`pip install changeover` brings the controller, the probe and the uploads library. What is large or seldom needed is an
extra. A command asks here before it starts anything, so that no rollout fails half-way for a missing package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from types import MappingProxyType

from changeover.model.software import Missing, refused

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "envoy": "envoy",
        "scipy": "analysis",
        "apprise": "notify",
        "obstore": "objects",
        "uvicorn": "example",
        "google.cloud.compute_v1": "gcp",
        "opentelemetry.exporter.otlp.proto.http": "otel",
    }
)
"""Package, as Python imports it -> the extra in pyproject.toml that brings it."""


def missing_package(package: str, feature: str) -> Iterator[Missing]:
    """The package, where it is missing."""
    if not _is_installed(package):
        what = f"{feature} needs the Python package {package}, which is not installed"
        yield Missing(what, extra=EXTRAS[package])


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False


def require(package: str, feature: str) -> None:
    """Raises ChangeoverError, with the command that installs the extra, where the package is missing."""
    if missing := tuple(missing_package(package, feature)):
        raise refused(missing)
