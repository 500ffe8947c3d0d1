"""The ports that compose publishes on its machine, and the address that each is bound to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from changeover.conf.compose import ComposeFile
from changeover.conf.document import Document
from changeover.conf.place import Place
from changeover.conf.tree import Map, Node, Word

_SHORT = re.compile(
    r"(?:(?P<host>\[[^\]]*\]|\$\{[^}]*\}|[^:]*):)?(?P<published>\d+|\$\{[^}]*\}|\$\w+):"
    r"(?P<target>\d+|\$\{[^}]*\}|\$\w+)(?:/tcp)?"
)


@dataclass(frozen=True)
class PublishedPort:
    """`host` is empty where it is every address of the machine. Both ports are None where a variable holds one."""

    service: str
    host: str
    port: int | None
    target: int | None
    place: Place

    @property
    def on_loopback(self) -> bool:
        return self.host.strip("[]").startswith(("127.", "localhost", "::1"))


def published(documents: Sequence[Document]) -> Iterator[PublishedPort]:
    """Single TCP ports; ranges and those that Docker chooses are left out."""
    for document in documents:
        for name, service in document.services.items.items() if isinstance(document, ComposeFile) else ():
            for one in service.each("ports"):
                if (found := _port(name, one)) is not None:
                    yield found


def _port(service: str, node: Node) -> PublishedPort | None:
    if isinstance(node, Word):
        found = _SHORT.fullmatch(node.word)
        if found is None:
            return None
        if "$" in node.word:
            return PublishedPort(service, found["host"] or "", None, None, node.place)
        return PublishedPort(service, found["host"] or "", int(found["published"]), int(found["target"]), node.place)
    published, target = node.number("published"), node.number("target")
    given = node.text("published") or ""
    if "$" in given and isinstance(node, Map):
        return PublishedPort(service, node.text("host_ip") or "", None, None, node.keys["published"])
    if not isinstance(node, Map) or published is None or target is None or (node.text("protocol") or "tcp") != "tcp":
        return None
    place = node.keys.get("host_ip", node.keys["published"])
    return PublishedPort(service, node.text("host_ip") or "", int(published), int(target), place)
