"""The names that `changeover.uploads` exports, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("starlette", "prometheus_client", "httptools", "uvicorn", "asyncio", "changeover.uploads.server.asgi")


def _loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["ietf", "tus", "content_range"])
def test_a_protocol_is_imported_without_asgi_prometheus_and_httptools(module: str) -> None:
    assert not _loaded_by(f"import changeover.uploads.protocols.{module}") & set(HEAVY)


def test_every_exported_name_can_be_imported() -> None:
    import changeover.uploads

    assert [name for name in changeover.uploads.__all__ if getattr(changeover.uploads, name, None) is None] == []
    assert set(changeover.uploads.__all__) <= set(dir(changeover.uploads))


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    import changeover.uploads

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = changeover.uploads.Nothing  # type: ignore[attr-defined]
