"""Reading files: folders, includes, and what leads out of the given folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from changeover.audit import files
from changeover.audit.files import load
from changeover.conf.nginx.assemble import assemble
from changeover.conf.nginx.reader import NginxFile, everything
from changeover.conf.source import LARGEST

SITE = "server { listen 80; location / { proxy_pass http://a; } }"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_what_an_include_names_is_read_beside_the_main_file() -> None:
    main = write("nginx/nginx.conf", "http { include /etc/nginx/sites/*; include snippets/a; include /etc/passwd; }")
    write("nginx/sites/shop", SITE)
    write("nginx/snippets/a", "gzip on;")
    loaded = load([main])
    assert sorted(loaded.texts) == ["nginx/nginx.conf", "nginx/sites/shop", "nginx/snippets/a"]
    assert not loaded.unreadable


def test_copies_and_environments_in_a_folder_are_no_configuration() -> None:
    write("a/nginx.conf", f"http {{ {SITE} }}")
    for copy in ("nginx.conf~", "nginx.conf.orig", "nginx.conf.bak", "nginx.conf.dpkg-old"):
        write(f"a/{copy}", f"http {{ {SITE} }}")
    write("a/env/pyvenv.cfg", "home = /usr/bin")
    write("a/env/share/nginx.conf", f"http {{ {SITE} }}")
    loaded = load([Path("a")])
    assert list(loaded.texts) == ["a/nginx.conf"]
    assert len(loaded.skipped) == 4
    assert list(load([Path("a/nginx.conf.bak")]).texts) == ["a/nginx.conf.bak"]  # named


@pytest.mark.parametrize(
    ("limit", "reason"), [("_MOST", "more than 2 files,"), ("_MOST_READ", "more than 2 files of known formats")]
)
def test_a_folder_with_too_many_files_is_not_read_in_part_without_a_word(
    limit: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, limit, 2)
    for name in ("a", "b", "c"):
        write(f"a/{name}.conf", f"http {{ {SITE} }}")
    loaded = load([Path("a")])
    assert len(loaded.texts) == 2
    assert [(one.place.file, reason in one.what) for one in loaded.unreadable] == [("a", True)]


def test_nothing_outside_of_the_given_folders_is_read(folder: Path) -> None:
    write("outside.conf", SITE)
    main = write(
        "nginx/nginx.conf", f"http {{ include ../outside.conf; include {folder}/outside.conf; include a.conf; }}"
    )
    Path("nginx/a.conf").symlink_to(folder / "outside.conf")
    loaded = load([main])
    assert list(loaded.texts) == ["nginx/nginx.conf"]
    assert {one.place.file for one in loaded.unreadable} == {"outside.conf", "nginx/a.conf"}


def test_a_folder_is_walked_and_other_formats_are_counted() -> None:
    write("a/nginx.conf", f"http {{ {SITE} }}")
    write("a/README.md", "hello")
    write("a/.git/nginx.conf", f"http {{ {SITE} }}")
    write("a/broken.conf", "http {\nserver {")
    os.mkfifo("a/pipe")
    loaded = load([Path("a")])
    assert list(loaded.texts) == ["a/nginx.conf"]
    assert sorted(loaded.skipped) == ["a/README.md", "a/pipe"]
    assert [one.place.file for one in loaded.unreadable] == ["a/broken.conf"]


def test_files_that_include_each_other_are_read_once() -> None:
    main = write("a.conf", "http { include b.conf; }")
    write("b.conf", "include a.conf; include b.conf; include *.conf;")
    assert sorted(load([main]).texts) == ["a.conf", "b.conf"]


@pytest.mark.parametrize(
    ("files", "places"),
    [
        ({"nginx.conf": "http { include nginx.conf; }"}, {"nginx.conf:1"}),
        ({"nginx.conf": "http { include *.conf; }"}, {"nginx.conf:1"}),
        (
            {
                "nginx.conf": "events {}\nhttp { include a.conf; }",
                "a.conf": "include b.conf;",
                "b.conf": "include a.conf;",
            },
            {"b.conf:1"},
        ),
        ({"nginx.conf": "http {\n include a.conf; }", "a.conf": "gzip on;\ninclude nginx.conf;"}, {"a.conf:2"}),
        ({"x.conf": f"{SITE} include y.conf;", "y.conf": f"{SITE} include x.conf;"}, {"y.conf:1"}),
    ],
)
@pytest.mark.parametrize("whole_folder", [False, True])
def test_files_that_include_each_other_in_a_circle_are_refused_and_nothing_is_missing(
    files: dict[str, str], places: set[str], whole_folder: bool
) -> None:
    written = [write(f"nginx/{name}", text) for name, text in files.items()]
    loaded = load([Path("nginx")] if whole_folder else written[:1])
    assert {str(one.place).removeprefix("nginx/") for one in loaded.unreadable} == places
    assert all(place in loaded.unreadable[0].what for place in places)
    confs = assemble({one.path: one for one in loaded.documents if isinstance(one, NginxFile)})
    assert [one for conf in confs for one in everything(conf.main) if one.name == "include"] == []


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_file_that_two_others_include_is_no_circle(whole_folder: bool) -> None:
    main = write("nginx/nginx.conf", "http { include a.conf; include b.conf; include c.conf; include c.conf; }")
    write("nginx/a.conf", f"{SITE} include c.conf;")
    write("nginx/b.conf", f"{SITE} include c.conf;")
    write("nginx/c.conf", "server { listen 81; }")
    assert load([Path("nginx") if whole_folder else main]).unreadable == []


@pytest.mark.parametrize("whole_folder", [False, True])
def test_includes_that_are_nested_too_deeply_are_refused(whole_folder: bool) -> None:
    main = write("nginx/nginx.conf", "http { include 0.conf; }")
    for number in range(1500):
        write(f"nginx/{number}.conf", f"{SITE}\ninclude {number + 1}.conf;")
    found = load([Path("nginx") if whole_folder else main]).unreadable
    assert [str(one) for one in found][:1] == ["nginx/15.conf:2: includes are nested more than 16 deep"]


def test_a_large_file_is_refused_before_it_is_read() -> None:
    with Path("nginx.conf").open("wb") as file:
        file.truncate(LARGEST * 50)
    (error,) = load([Path("nginx.conf")]).unreadable
    assert "larger than" in error.what


def test_a_file_that_is_given_twice_is_read_once() -> None:
    main = write("nginx.conf", f"http {{ {SITE} }}")
    assert len(load([main, Path(), main]).documents) == 1


@pytest.mark.parametrize(
    ("include", "kept"),
    [
        ("/etc/nginx/conf.d/*.conf", False),
        ("conf.d/[ab].conf", False),
        ("none/*.conf", True),
        ("conf.d/a.conf", True),
        ("../outside/*.conf", True),
        ("*.d/*.conf", True),
    ],
)
def test_a_pattern_that_matches_nothing_in_a_given_folder_sets_nothing(include: str, kept: bool) -> None:
    main = write("nginx/nginx.conf", f"http {{ include {include}; }}")
    write("nginx/conf.d/README", "Sites of this machine.")
    write("outside/README", "Another folder.")
    files = {one.path: one for one in load([main]).documents if isinstance(one, NginxFile)}
    (conf,) = assemble(files)
    assert ("include" in {one.name for one in everything(conf.main)}) == kept


def test_what_is_no_text_in_a_folder_is_of_another_format_unless_the_rest_is_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    (folder / "page.gz").write_bytes(b"\x1f\x8b\x08\0\xff")
    (folder / "nginx.conf").write_bytes(b"http {\n    server { listen 80; }\n\0}\n")
    (folder / "describe.json").write_bytes('{"kind": "compute#backendService", "name": "web"}'.encode("utf-16"))
    loaded = load([folder])
    assert [Path(one).name for one in loaded.skipped] == ["logo.png", "page.gz"]
    assert [Path(one.place.file).name for one in loaded.unreadable] == ["describe.json", "nginx.conf"]
    assert [Path(one.place.file).name for one in load([folder / "logo.png"]).unreadable] == ["logo.png"]
