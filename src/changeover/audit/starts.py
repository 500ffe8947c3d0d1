"""What the words of a command start: the server behind its wrappers, and which process gets the stop signal.

Refuses to guess: of what a script or an unknown program starts, the server is `named` at most, and rules are unknown.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import PurePosixPath

SERVERS = {"gunicorn", "uvicorn", "hypercorn", "granian"}
_SOFTWARE = {"nginx": "nginx", "openresty": "nginx", "kong": "kong", "haproxy": "haproxy", "envoy": "envoy"}
_SOFTWARE |= {name: name for name in SERVERS}
_OF_DEBIAN = re.compile(r"^(gunicorn|uvicorn|hypercorn)-?3(?:\.\d+)?$")
_SHELLS = {"sh", "bash", "dash", "ash", "zsh", "ksh"}
_UV = (
    "-p --python --with --with-editable --with-requirements --extra --no-extra --group --no-group --only-group -f "
    "--env-file --directory --project --package --index --default-index -i --index-url --extra-index-url -w -P "
    "--find-links --config-file --cache-dir --color --upgrade-package --refresh-package --reinstall-package "
    "--link-mode --python-platform --resolution --prerelease --exclude-newer"
)
_WRAPPERS: Mapping[str, str] = {
    "env": "-u --unset -C --chdir",
    "exec": "-a",
    "command": "",
    "nohup": "",
    "nice": "-n --adjustment",
    "stdbuf": "-i -o -e --input --output --error",
    "tini": "-e",
    "tini-static": "-e",
    "docker-init": "-e",
    "catatonit": "",
    "dumb-init": "",
    "opentelemetry-instrument": "--traces_exporter --metrics_exporter --logs_exporter --id_generator --service_name "
    "--exporter_otlp_endpoint --exporter_otlp_protocol --resource_attributes --propagators",
    "ddtrace-run": "",
    "gosu": "",
    "su-exec": "",
    "poetry": "-C --directory -P --project",
    "pipenv": "",
    "uv": _UV,
    "newrelic-admin": "",
}
"""Programs that start the rest of their words and leave it the signals, with their options that take a word."""
_RUNS = {"poetry": "run", "pipenv": "run", "uv": "run", "newrelic-admin": "run-program"}
_REWRITES = {"dumb-init": ("-r", "--rewrite"), "tini": ("-p",), "tini-static": ("-p",), "docker-init": ("-p",)}
"""Options by which a wrapper sends another signal than it gets."""
_KEYWORDS = {"if", "then", "else", "elif", "fi", "while", "until", "for", "do", "done", "case", "esac", "{", "}", "!"}
_SEPARATORS = set("();&|\n")
_HELPS = {"nginx": {"-s", "-t", "-T", "-v", "-V"}, "haproxy": {"-c", "-v", "-vv"}, "envoy": {"--version"}}
_HELPS |= {name: {"--version", "--help", "-h", "--check-config", "--print-config"} for name in SERVERS}
"""Options with which a software serves nothing: a reload, a test."""
_SCRIPT = re.compile(r"\.(?:ba)?sh$|^\$|^%\(|entrypoint$|/(?:start|run|serve)$|^(?:python|pypy)[\d.]* \S")
"""What may start a server, although it names none."""
_NO_SERVERS = {"celery", "pip", "pytest", "unittest", "compileall", "venv", "alembic", "rq", "dramatiq", "huey"}
"""Modules that serve no requests."""
_NAMES = {**_SOFTWARE, "fastapi": "uvicorn"}
GUNICORN_OPTIONS = "GUNICORN_CMD_ARGS"
"""The variable that holds more options of gunicorn (docs.gunicorn.org/en/stable/configure.html)."""
_DEEPEST = 12
_HEREDOC = re.compile(r"<<-?[ \t]*[\"']?(\w+)[\"']?[^\n]*\n.*?^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
Scripts = Callable[[str], str | None]
"""The text of the given shell script of a name."""


def no_scripts(name: str) -> str | None:
    return None


class Reaches(Enum):
    """Whether the stop signal that a command gets reaches its server."""

    YES = "it gets the signal itself"
    PERHAPS = "a shell runs it as its only command"
    NO = "a shell runs it among other commands, or in a loop"
    UNKNOWN = "a script that handles signals starts it"


@dataclass(frozen=True)
class Start:
    """`opaque`: a program that cannot be seen through; then `named` is the server that its words name.

    `script`: the file, of those that are given, that starts it.
    `whole`: the signal is sent to every process, as by `dumb-init` without `--single-child`.
    """

    software: str | None = None
    arguments: tuple[str, ...] = ()
    reaches: Reaches = Reaches.YES
    whole: bool = False
    executed: bool = False
    opaque: str = ""
    named: str | None = None
    script: str | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it may start a server that is not seen."""
        return self.software is None and (self.named is not None or _SCRIPT.search(self.opaque) is not None)


def start(words: Sequence[str], depth: int = 0, scripts: Scripts = no_scripts) -> Start:
    """The server that the words of one command start, not those of a shell's text."""
    if not words:
        return Start()
    if depth > _DEEPEST:
        return _opaque(words)
    name, rest = _OF_DEBIAN.sub(r"\1", PurePosixPath(words[0]).name), tuple(words[1:])
    if re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
        return _with_variable(words[0], start(rest, depth + 1, scripts))
    if name in _SOFTWARE:
        return Start(_SOFTWARE[name], rest)
    if name == "fastapi" and rest[:1] in {("run",), ("dev",)}:
        host = ("--host", "0.0.0.0") if rest[0] == "run" else ()  # noqa: S104: what FastAPI CLI gives uvicorn
        return Start("uvicorn", (*host, *rest[1:]))
    if (text := scripts(name)) is not None:
        return _of_file(name, text, rest, depth, scripts)
    if name in _SHELLS:
        return _of_shell(words, depth, scripts)
    if re.fullmatch(r"(?:python|pypy)[\d.]*", name):
        return _of_python(words, depth)
    if name not in _WRAPPERS:
        return _opaque(words)
    return _of_wrapper(name, words, depth, scripts)


def _with_variable(assignment: str, found: Start) -> Start:
    """Options in GUNICORN_CMD_ARGS override the settings file, and the command line overrides them."""
    name, _, value = assignment.partition("=")
    if name != GUNICORN_OPTIONS or found.software != "gunicorn":
        return found
    return replace(found, arguments=(*(split(value) or (value,)), *found.arguments))


def _opaque(words: Sequence[str]) -> Start:
    if words[0].startswith("-"):
        return Start(opaque=words[0])  # options for the entrypoint of an image
    names = (PurePosixPath(part).name for word in words for part in re.split(r"[\s;&|()]+", word))
    return Start(opaque=words[0], named=next((_NAMES[name] for name in names if name in _NAMES), None))


def _of_wrapper(name: str, words: Sequence[str], depth: int, scripts: Scripts) -> Start:
    rest = list(words[1:])
    options: list[str] = []
    values = _WRAPPERS[name].split()
    runs = _RUNS.get(name)
    while rest and (rest[0].startswith("-") or rest[0] == runs):
        word = rest.pop(0)
        if word == "--":
            break
        if word == runs:
            runs = None
        elif name == "uv" and word in {"-m", "--module"}:
            return start(["python", "-m", *rest], depth + 1)
        elif name == "env" and (word.startswith(("-S", "--split-string"))):
            given = re.sub(r"^(?:-S|--split-string=?)", "", word)
            given = given or (rest.pop(0) if rest else "")
            return start([*(split(given) or ()), *rest], depth + 1, scripts)
        options.append(word)
        if word in values and rest:
            rest.pop(0)
    if runs is not None and name in _RUNS:
        return _opaque(words)  # another command of it: `poetry install`
    if any(word.startswith(_REWRITES.get(name, ("\0",))) for word in options):
        return _opaque(words)
    if name in {"gosu", "su-exec"}:
        rest = rest[1:]
    found = start(rest, depth + 1, scripts)
    single = {"-c", "--single-child"} & set(options)
    group = (name == "dumb-init" and not single) or (name.startswith(("tini", "docker-init")) and "-g" in options)
    return replace(found, whole=found.whole or group, executed=found.executed or name == "exec")


def _of_python(words: Sequence[str], depth: int) -> Start:
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if re.fullmatch(r"-[bBdEhiIOPqsSuvx]*m", word) and rest:
            module = rest[0].split(".")[0]
            return Start(module, tuple(rest[1:])) if module in SERVERS else _wrapped_module(module, rest, words, depth)
        if word in {"-W", "-X"} and rest:
            rest.pop(0)
        elif word.startswith("-c"):
            return _opaque(words)
    if rest and PurePosixPath(rest[0]).name in SERVERS:
        return start(rest, depth + 1)
    if rest and rest[0].endswith(".py") and not _is_task(rest):
        return _program(words, rest[0])  # it may run any server, and uvicorn.run() is one
    return _opaque(words)


def _is_task(rest: Sequence[str]) -> bool:
    """A command of Django that ends, such as `manage.py migrate`."""
    return PurePosixPath(rest[0]).name == "manage.py" and rest[1:2] != ["runserver"]


def _program(words: Sequence[str], name: str) -> Start:
    return replace(_opaque(words), opaque=f"{PurePosixPath(words[0]).name} {name}")


def _wrapped_module(module: str, rest: Sequence[str], words: Sequence[str], depth: int) -> Start:
    """`python -m poetry run gunicorn`."""
    if module in _RUNS or module == "fastapi":
        return start([module, *rest[1:]], depth + 1)
    return _opaque(words) if module in _NO_SERVERS else _program(words, f"-m {rest[0]}")


def _of_shell(words: Sequence[str], depth: int, scripts: Scripts) -> Start:
    rest = list(words[1:])
    while rest and rest[0].startswith(("-", "+")):
        word = rest.pop(0)
        if not word.startswith("--") and "c" in word:
            if rest[:1] == ["--"]:
                rest.pop(0)
            return _of_script(_filled(rest), depth + 1, scripts) if rest else Start()
        if word.endswith(("o", "O")) and rest and not word.startswith("--"):
            rest.pop(0)
    name = PurePosixPath(rest[0]).name if rest else ""
    if (text := scripts(name)) is not None:
        return _of_file(name, text, rest[1:], depth, scripts)
    return replace(_opaque(words), opaque=rest[0] if rest else words[0])


def _of_file(name: str, text: str, arguments: Sequence[str], depth: int, scripts: Scripts) -> Start:
    """The server that a given script starts. A shell that runs a file never replaces itself by its only command."""
    code = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    code = _HEREDOC.sub("", code)

    def others(one: str) -> str | None:
        return scripts(one) if one != name else None

    found = _of_script(_filled([code, name, *arguments]), depth + 1, others)
    reaches = Reaches.NO if found.reaches is Reaches.PERHAPS else found.reaches
    return replace(found, reaches=reaches, script=found.script or name)


def serves(found: Start) -> bool:
    """Whether it starts a server, not a job of its program, such as `kong migrations up` or `nginx -t`."""
    arguments = set(found.arguments)
    if found.software == "kong":
        return bool(arguments & {"start", "docker-start"})
    return found.software is not None and not arguments & _HELPS[found.software]


def _filled(words: Sequence[str]) -> str:
    """The text of `sh -c`, with the words that follow it in place of `$0` and `$@`."""
    text, given = words[0], words[1:]
    for name, value in (("$@", shlex.join(given[1:])), ("$*", shlex.join(given[1:])), ("$0", shlex.join(given[:1]))):
        if given:
            text = text.replace(f'"{name}"', value).replace(name, value)
    return text


@dataclass(frozen=True)
class _Part:
    """One command of a script. `alone`: it shares its process with no pipe, no subshell and no background."""

    words: tuple[str, ...]
    alone: bool


def _of_script(text: str, depth: int, scripts: Scripts) -> Start:
    """Of the text that a shell runs: the server that it execs, else the last that it starts."""
    tokens = _tokens(text)
    if tokens is None:
        return _opaque([text])
    parts = [(one, start(one.words, depth + 1, scripts)) for one in _parts(tokens)]
    serving = [(one, found) for one, found in parts if serves(found)]
    if not serving:
        unknown = [found for _, found in parts if found.is_unknown]
        return unknown[-1] if unknown else next((found for _, found in parts if found.software), Start())
    executed = [(one, found) for one, found in serving if found.executed and one.alone]
    one, found = (executed or serving)[-1]
    if executed:
        return found
    several = len(parts) > 1 or not one.alone or any(word in _SEPARATORS | _KEYWORDS for word in tokens)
    if any("trap" in part.words[:1] for part, _ in parts):
        reaches = Reaches.UNKNOWN
    else:
        reaches = Reaches.NO if several or found.reaches is Reaches.NO else Reaches.PERHAPS
    return replace(found, reaches=reaches, executed=False)


def _tokens(text: str) -> list[str] | None:
    """Words and separators of a shell. None where a quote is open."""
    bare = re.sub(r"\\\n", " ", text).strip()
    bare = re.sub(r"\$\([^()]*(?:\([^()]*\)[^()]*)*\)", "$_", bare)
    bare = re.sub(r"\d?>&[\d-]", " ", bare).replace("&>", ">")
    lexer = shlex.shlex(bare, posix=True, punctuation_chars="();&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        found = list(lexer)
    except ValueError:
        return None
    tokens: list[str] = []
    comment = False
    for word in found:
        separator = set(word) <= _SEPARATORS and word != ""
        comment = word.startswith("#") or (comment and not (separator and "\n" in word))
        if not comment:
            tokens += ["&&"] if word == "&&" else ["||"] if word == "||" else list(word) if separator else [word]
    while tokens and tokens[-1] in {";", "\n"}:
        tokens.pop()
    return tokens


def _parts(tokens: Sequence[str]) -> Iterator[_Part]:
    words: list[str] = []
    open_brackets, piped = 0, False
    for token in [*tokens, ";"]:
        if token not in _SEPARATORS | {"&&", "||"}:
            if words or token not in _KEYWORDS:
                words.append(token)
            continue
        if words:
            yield _Part(tuple(words), not (open_brackets or piped or token in {"|", "&"}))
        words = []
        open_brackets = max(0, open_brackets + (token == "(") - (token == ")"))  # `)` also ends a pattern of `case`
        piped = token == "|"


def split(text: str) -> list[str] | None:
    """None where a quote is open."""
    try:
        return shlex.split(text)
    except ValueError:
        return None
