"""What an audit is given besides files: its configuration, assumptions, baseline and the order of the chain."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from os.path import normpath
from pathlib import Path

from changeover.audit.assumptions import Assumptions, keys
from changeover.audit.audit import Audit
from changeover.audit.files import Loaded
from changeover.audit.handling import baseline as baselines
from changeover.audit.handling.baseline import Baseline
from changeover.audit.handling.configuration import NAMES, Configuration, configuration
from changeover.audit.handling.fixes import Fix
from changeover.audit.rules import all_rules
from changeover.conf.place import Unreadable
from changeover.conf.source import decode
from changeover.kit.files import write_whole
from changeover.model.errors import fail


def configured(given: Path | None) -> Configuration:
    """That of --config, else of the working directory; one without a file where there is none."""
    file = given or next((path for name in NAMES if (path := Path(name)).exists()), None)
    return configuration(_text("--config", file), str(file), all_rules()) if file is not None else Configuration("")


def assumptions(
    upload: float | None, client_rate: float | None, given: Sequence[str], configured: Configuration
) -> Assumptions:
    """An option overrides the configuration, and --assume overrides both."""
    for one in given:
        if "=" not in one:
            raise fail(f"--assume {one} is no KEY=VALUE", next=f"There are: {', '.join(keys())}.")
    if upload is not None and upload <= 0:
        raise fail("--upload needs more than 0 bytes")
    asked = Assumptions().given(configured.assume, configured.file).with_load(upload, client_rate)
    return asked.given(dict(one.split("=", 1) for one in given))


def order(chain: str, configured: Configuration, loaded: Loaded) -> tuple[str, ...]:
    """The files of a chain, edge first, as they are named among those that were read."""
    read = {_absolute(file): file for file in loaded.texts}
    named = [one.strip() for one in chain.split(",") if one.strip()]
    if missing := [one for one in named if _absolute(one) not in read]:
        raise fail(f"--chain names {missing[0]}, which is none of the files that were read")
    paths = [_absolute(one) for one in named] or _paths(configured)
    return tuple(read.get(path, path) for path in paths)


def _paths(configured: Configuration) -> list[str]:
    return [_absolute(Path(configured.file).parent / one) for one in configured.chain]


def _absolute(path: str | Path) -> str:
    return normpath(Path.cwd() / path)


def baseline(given: Path | None) -> Baseline | None:
    return baselines.read(_text("--baseline", given), str(given)) if given is not None else None


def write_baseline(path: Path, found: Audit, loaded: Loaded) -> str:
    """What the report says of it."""
    text = baselines.created(found, loaded.texts, str(path))
    write("--create-baseline", path, text)
    count = baselines.read(text, str(path)).gone
    return f"{path}  {count} finding{'' if count == 1 else 's'} written: --baseline {path} accepts them"


def notes(configured: Configuration, loaded: Loaded, baseline: Baseline | None) -> Iterator[str]:
    """What a reader of the report should know of these files."""
    for one in configured.unmatched(loaded.texts):
        yield f"{one.place}  the pattern {one.pattern} matches none of these files"
    read = {_absolute(file) for file in loaded.texts}
    for name, path in zip(configured.chain, _paths(configured), strict=True):
        if path not in read:
            yield f"{configured.file}  the chain names {name}, which is none of these files: nothing is joined there"
    if baseline is not None and baseline.gone:
        gone = f"{baseline.gone} finding{' is' if baseline.gone == 1 else 's are'}"
        yield f"{baseline.file}  {gone} not there any more: create the baseline again"


def of_fixes(written: bool, wanted: Sequence[Fix], loaded: Loaded) -> Iterator[str]:
    """What was changed, or would be."""
    if written and wanted and loaded.unreadable:
        yield "nothing was written: --fix needs every file to be readable"
    for one in wanted:
        change = one.replacement
        done = "changed" if written and not loaded.unreadable else "--fix writes it"
        rules = ", ".join(one.rules)
        yield f"{one.file}:{one.line}  {rules}  {change.key}: {change.old} -> {change.new}, {done}"


def write_fixed(texts: Mapping[str, str], new: Mapping[str, str]) -> None:
    """Each file whole, with its mode, its byte order mark and through its symbolic link."""
    # A link and its file are one: it is written once.
    for path, file in {Path(file).resolve(): file for file in new}.items():
        text = new[file]
        try:
            old = path.read_bytes()
            if decode(old, file) != texts[file]:
                raise fail(f"--fix {file}: it has changed since it was read", next="Run the audit again.")
            mark = codecs.BOM_UTF8.decode() if old.startswith(codecs.BOM_UTF8) else ""
            write_whole(path, mark + text, mode=path.stat().st_mode & 0o777)
        except OSError as error:
            raise fail(f"--fix {file}: {error.strerror}") from error


def write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise fail(f"{option} {path}: {error.strerror}", next="Name a file in a folder that exists.") from error


def _text(option: str, path: Path) -> str:
    try:
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise fail(f"{option} {path}: {error.strerror}") from error
    except Unreadable as error:
        raise fail(error.what, where=str(error.place)) from error
