"""Every reader. A new one is one module with `recognises` and `read`, and one line here.

A file is recognised by its content; its name helps where the content leaves a doubt. The first reader that recognises
a file reads it, so those with the narrower sign come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from changeover.conf import (
    chain,
    compose,
    dockerfile,
    envoy,
    google,
    gunicorn,
    haproxy,
    kong,
    kubernetes,
    shell,
    supervisord,
    systemd,
)
from changeover.conf.document import Document, UnreadPart
from changeover.conf.nginx import reader as nginx
from changeover.conf.nginx.reader import NginxFile
from changeover.conf.place import Place, Unreadable
from changeover.conf.terraform import hcl


@dataclass(frozen=True)
class Reader:
    """`recognises` never raises; `read` raises Unreadable and nothing else. Both get the text and the file's name."""

    name: str
    recognises: Callable[[str, str], bool]
    read: Callable[[str, str], tuple[Document, ...]]


def _with_pods(text: str, file: str) -> tuple[Document, ...]:
    """Resources of Google Cloud. In a file of manifests, pods stand beside those of Config Connector."""
    pods = _manifests(text, file) if kubernetes.recognises(text, file) else ()
    try:
        return (*google.read(text, file), *pods)
    except Unreadable:
        if pods:
            return pods  # it only names an address of the API
        raise


def _manifests(text: str, file: str) -> tuple[Document, ...]:
    """Pods, and the files that ConfigMaps hold. Raises Unreadable for manifests with neither."""
    read = kubernetes.read(text, file)
    held = [part for one in read for part in one.held]
    readers = {part.path: next((one for one in _HELD if one.recognises(part.text, part.key)), None) for part in held}
    of_nginx = {part.holder for part in held if readers[part.path] is NGINX}
    found: list[Document] = []
    for part in held:
        if (reader := readers[part.path]) is not None:
            found += _of_held(part, reader, file)
        elif part.holder in of_nginx and part.key.endswith(".conf"):
            found += [
                one for one in _of_held(part, NGINX, file) if isinstance(one, NginxFile)
            ]  # an include may name it
    if not found and not any(one.pods for one in read):
        raise Unreadable("it has no pod, and no configuration that a reader recognises", Place(file))
    return (*read, *found)


def _of_held(held: kubernetes.Held, reader: Reader, file: str) -> tuple[Document, ...]:
    try:
        if not held.lined:
            raise Unreadable(f"{held.key} stands in quotes: write it as a block (`|`), which has lines", held.place)
        found = reader.read(held.text, file)
    except Unreadable as error:
        return (UnreadPart(file, error),)
    return tuple(replace(one, path=held.path) if isinstance(one, NginxFile) else one for one in found)


NGINX = Reader("nginx", nginx.recognises, nginx.read)
GUNICORN = Reader("settings of gunicorn", gunicorn.recognises, gunicorn.read)
SUPERVISORD = Reader("supervisord", supervisord.recognises, supervisord.read)
HAPROXY = Reader("HAProxy", haproxy.recognises, haproxy.read)
ENVOY = Reader("Envoy: bootstraps and files of its discovery (YAML, JSON)", envoy.recognises, envoy.read)
KONG = Reader("Kong: kong.conf, KONG_* variables, declarative configuration, decK", kong.recognises, kong.read)
SHELL = Reader("shell scripts that a command of the other files runs", shell.recognises, shell.read)
_HELD = (SUPERVISORD, HAPROXY, ENVOY, KONG, NGINX)
"""Readers of what a ConfigMap holds."""
READERS: tuple[Reader, ...] = (
    SHELL,
    # Before the others: a startup script in a heredoc holds whole files of theirs.
    Reader("Terraform", hcl.recognises, hcl.read),
    Reader("systemd unit", systemd.recognises, systemd.read),
    SUPERVISORD,
    HAPROXY,
    ENVOY,
    Reader("Dockerfile", dockerfile.recognises, dockerfile.read),
    Reader("chain file of changeover", chain.recognises, chain.read),
    Reader("docker-compose", compose.recognises, compose.read),
    GUNICORN,
    Reader(
        "Google Cloud: gcloud describe and list (JSON, YAML), Config Connector, BackendConfig, terraform show -json",
        google.recognises,
        _with_pods,
    ),
    Reader("Kubernetes manifests", kubernetes.recognises, _manifests),
    KONG,
    NGINX,
)


_PROSE = frozenset((".md", ".markdown", ".rst", ".adoc", ".html", ".htm"))
_NOTES = frozenset(("readme", "changelog", "changes", "news", "license", "pkg-info", "metadata"))
_CODE = frozenset((".c", ".cc", ".cpp", ".go", ".h", ".java", ".js", ".lua", ".php", ".pl", ".rb", ".rs", ".ts"))
"""Endings of files that hold configuration in quotes at most, in examples, tests and heredocs."""


def reader_of(text: str, file: str) -> Reader | None:
    """The reader for this text; None if no reader knows its format.

    Neither prose nor a program is configuration, whatever it quotes. Settings of gunicorn are a program.
    """
    ending = file[file.rfind(".") :].lower() if "." in file else ""
    name = file.replace("\\", "/").rpartition("/")[2].lower()
    if SHELL.recognises(text, file):
        return SHELL
    if ending in _PROSE or ending in _CODE or name in _NOTES:
        return None
    readers = (GUNICORN,) if text.startswith("#!") or ending == ".py" else READERS
    return next((reader for reader in readers if reader.recognises(text, file)), None)
