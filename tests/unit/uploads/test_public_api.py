"""The public API of the library: its names, its reference page, and what importing it costs."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/uploads_api.md"
SURFACE = Path(__file__).with_name("public_surface.txt")
"""Every public name, signature and attribute. A change of this file is a change for users: name it in CHANGELOG.md."""
FOREIGN = {
    *(
        "Any",
        "AsyncIterator",
        "Awaitable",
        "Callable",
        "Literal",
        "Mapping",
        "None",
        "Path",
        "Sequence",
        "False",
        "True",
    ),
    *("BaseRoute", "CollectorRegistry", "Receive", "Scope", "Send"),
}
"""Names in signatures that belong to Python, Starlette and Prometheus."""

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


def _page() -> Any:
    loader = SourceFileLoader("uploads_api", str(ROOT / "scripts/uploads-api"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module.page()


def _surface(page: str) -> list[str]:
    """The page without its prose."""
    rows = (re.match(r"\| `(\w+)` \| `(.*?)` \|", line) for line in page.splitlines())
    members = {row.string: f"    {row[1]} {row[2]}" for row in rows if row}
    heads = re.compile(r"(?:class|protocol|exception) `|`\w+ = ")
    return [members.get(line, line) for line in page.splitlines() if line in members or heads.match(line)]


def test_the_reference_page_is_made_from_the_docstrings_of_today() -> None:
    assert PAGE.read_text() == _page(), "run scripts/uploads-api"


def test_the_public_surface_is_frozen() -> None:
    assert "\n".join(_surface(_page())) + "\n" == SURFACE.read_text()


def test_the_page_describes_every_exported_name() -> None:
    import changeover.uploads

    assert sorted(re.findall(r"^### `(\w+)`", PAGE.read_text(), re.MULTILINE)) == sorted(changeover.uploads.__all__)


def test_every_type_that_a_signature_names_is_exported() -> None:
    import changeover.uploads

    signatures = re.sub(r"'[^']*'", "", "\n".join(_surface(PAGE.read_text())))
    named = set(re.findall(r"(?<![\w.])[A-Z]\w+", signatures))
    assert named - FOREIGN <= set(changeover.uploads.__all__)
