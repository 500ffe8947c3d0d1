from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from changeover.hops.nginx import binary


@pytest.fixture(autouse=True)
def _found_anew() -> Iterator[None]:
    binary.find.cache_clear()
    yield
    binary.find.cache_clear()


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """A program that prints what `nginx -V` prints of an nginx configured like that."""
    nginx = folder / "nginx"
    nginx.write_text(f"#!/bin/sh\necho 'nginx version: nginx/1.22.1\nconfigure arguments: {' '.join(arguments)}' >&2\n")
    nginx.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_an_nginx_without_stream_module_is_enough_for_an_l7_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "--with-stream=dynamic", f"--modules-path={tmp_path}/modules")
    assert binary.find().stream_module is None
    assert not list(binary.missing(stream=False))
    assert [one.package for one in binary.missing(stream=True)] == ["libnginx-mod-stream"]


def test_a_stream_module_is_loaded_from_the_folder_that_nginx_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, "--with-stream=dynamic", f"--modules-path={tmp_path}")
    (tmp_path / "ngx_stream_module.so").touch()
    assert binary.find().stream_module == f"{tmp_path}/ngx_stream_module.so"
    assert not list(binary.missing(stream=True))


def test_a_stream_module_that_is_built_in_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "--with-stream", f"--modules-path={tmp_path}")
    assert (binary.find().stream_module, binary.find().has_stream) == (None, True)


def test_a_missing_nginx_is_named_with_the_packages_of_the_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert [one.package for one in binary.missing(stream=False)] == ["nginx"]
    assert [one.package for one in binary.missing(stream=True)] == ["nginx", "libnginx-mod-stream"]
