"""A block of nginx configuration with the blocks around it: what is set there, and what is inherited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from changeover.audit.setting import Setting, unknown
from changeover.conf.nginx.assemble import HARMLESS, NginxConf
from changeover.conf.nginx.grammar import Directive
from changeover.conf.nginx.reader import place
from changeover.conf.place import Place

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Scope:
    """`blocks` from the outermost inward; the main context is not one of them."""

    conf: NginxConf
    blocks: tuple[Directive, ...]

    @property
    def place(self) -> Place:
        return place(self.blocks[-1]) if self.blocks else Place(self.conf.file)

    @property
    def belongs(self) -> Place:
        """Where a directive that is missing would stand: in the server, not in each of its locations."""
        return next((place(block) for block in self.blocks if block.name == "server"), self.place)

    @property
    def name(self) -> str:
        return " ".join(str(block) for block in self.blocks[-1:])

    def inner(self, name: str) -> Iterator[Scope]:
        """The blocks of that name directly within."""
        return (Scope(self.conf, (*self.blocks, one)) for one in self.own(name) if one.block is not None)

    def own(self, name: str) -> list[Directive]:
        """Directives of that name in this very block."""
        return self.conf.named(self.blocks[-1].block or () if self.blocks else self.conf.main, name)

    def find(self, name: str) -> Directive | None:
        """The directive that takes effect here: the innermost block's."""
        named = self.conf.named  # a large file asks a million times
        for block in reversed(self.blocks):
            if found := named(block.block or (), name):
                return found[-1]
        found = named(self.conf.main, name)
        return found[-1] if found else None

    def hidden(self) -> Directive | None:
        """An include that is not among the given files and could set anything here."""
        if not self.conf.hides:
            return None
        around = (*(block.block or () for block in reversed(self.blocks)), self.conf.main)
        includes = (one for block in around for one in self.conf.named(block, "include"))
        return next((one for one in includes if one.values and not HARMLESS.search(one.values[0])), None)

    def setting(self, name: str, read: Callable[[str], Value | None], default: Value, shown: str) -> Setting[Value]:
        """The value of a directive. `shown` is its default as nginx writes it."""
        if (found := self.find(name)) is not None:
            text = found.values[0] if found.values else ""
            value = None if "$" in text else read(text)
            if value is None:
                return unknown(place(found), str(found), f"the value of `{name}`, which this program cannot read")
            return Setting(value, place(found), str(found))
        text = f"{name} is not set, so it is {shown}"
        if (include := self.hidden()) is not None:
            missing = f"the file that `{include}` in {place(include)} names: it may set {name}"
            return unknown(self.belongs, f"{name} is not set in the given files", missing)
        if self.conf.fragment and name not in {"server", "location"}:
            return Setting(default, self.belongs, text + " unless the file that includes this one sets it")
        return Setting(default, self.belongs, text)
