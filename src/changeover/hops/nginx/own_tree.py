"""A configuration of the user's own as nginx sees it: one tree, without `include` between its parts. Pure."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from os.path import normpath
from pathlib import PurePosixPath

from changeover.conf.nginx.grammar import Directive, NotNginx, parse
from changeover.hops.nginx.settings import OwnConfig
from changeover.hops.nginx.text import PLACEHOLDER
from changeover.model.errors import fail

FILES = frozenset(
    {
        *("ssl_certificate", "ssl_certificate_key", "ssl_client_certificate", "ssl_trusted_certificate", "ssl_crl"),
        *("ssl_dhparam", "ssl_password_file", "ssl_stapling_file", "ssl_session_ticket_key"),
        *("proxy_ssl_certificate", "proxy_ssl_certificate_key", "proxy_ssl_trusted_certificate", "proxy_ssl_crl"),
        *("grpc_ssl_certificate", "grpc_ssl_certificate_key", "grpc_ssl_trusted_certificate"),
        *("auth_basic_user_file",),
    }
)
"""Directives whose first value is a file, in the folder of the configuration where its path is relative."""


def is_fixed(value: str) -> bool:
    """Whether it is the path of a file as it stands."""
    return not (PLACEHOLDER.search(value) or "$" in value or value.startswith(("data:", "engine:")))


def main_key(config: OwnConfig) -> str:
    """The key of the first file: its path from the chain file, or its name where it lies outside of that folder."""
    path = normpath(config.path)
    return PurePosixPath(path).name if path.startswith(("/", "../")) else path


def key_of(config: OwnConfig, path: str) -> str:
    """The key of a file that the configuration names. It begins with `..` where it lies outside of all that is kept."""
    return normpath(PurePosixPath(main_key(config)).parent / path)


def shown(config: OwnConfig, key: str) -> str:
    """A file's path as the user knows it."""
    return key if main_key(config) == normpath(config.path) else str(PurePosixPath(config.path).parent / key)


def everything(directives: Iterable[Directive]) -> Iterator[Directive]:
    """These and all in their blocks."""
    for one in directives:
        yield one
        yield from everything(one.block or ())


class OwnTree:
    """`main`: all directives, from the first file on. The files of directives are keys of `OwnConfig.files`."""

    def __init__(self, config: OwnConfig) -> None:
        """Raises ChangeoverError where a file is no nginx configuration."""
        self.config = config
        self._parsed: dict[str, tuple[Directive, ...]] = {}
        self.main = tuple(self._expanded(self._parse(main_key(config))))

    def matching(self, pattern: str) -> list[str]:
        """The keys of the files that an `include` of `pattern` reads, in nginx's order."""
        wanted = key_of(self.config, pattern)
        if not glob.has_magic(wanted):
            return [wanted]
        parts = wanted.split("/")
        return sorted(
            key
            for key in self.config.files
            if len(names := key.split("/")) == len(parts)
            and all(fnmatchcase(name, part) for name, part in zip(names, parts, strict=True))
        )

    def _expanded(self, directives: Iterable[Directive], depth: int = 0) -> Iterator[Directive]:
        for one in directives:
            if one.name == "include" and one.values and is_fixed(one.values[0]):
                if depth > 20:
                    raise fail("this file includes itself", where=self.place(one))
                yield one
                for key in self.matching(one.values[0]):
                    yield from self._expanded(self._parse(key), depth + 1)
            elif one.block is None:
                yield one
            else:
                block = tuple(self._expanded(one.block, depth))
                yield Directive(one.words, one.line, one.file, block, one.inside)

    def _parse(self, key: str) -> tuple[Directive, ...]:
        if key not in self._parsed:
            try:
                self._parsed[key] = parse(self.config.files[key], key)
            except NotNginx as error:
                raise fail(str(error), where=f"{shown(self.config, key)}:{error.line}") from error
        return self._parsed[key]

    def place(self, directive: Directive) -> str:
        """File and line as the user knows them."""
        return f"{shown(self.config, directive.file)}:{directive.line}"


def blocks(directives: Iterable[Directive], *names: str) -> Iterator[Directive]:
    """The blocks of that path of names, such as `http`, `server`."""
    for one in directives:
        if one.name == names[0] and one.block is not None:
            if len(names) == 1:
                yield one
            else:
                yield from blocks(one.block, *names[1:])


def settings_of(block: Iterable[Directive], name: str) -> list[Directive]:
    """The directives of that name that stand in this block itself."""
    return [one for one in block if one.name == name]
