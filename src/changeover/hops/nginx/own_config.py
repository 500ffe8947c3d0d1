"""A configuration of the user's own, made ready for one instance: the user's files with edits, and files beside them.

Pure. Every line keeps its number, so nginx's messages name the user's lines. Each edit is a `Change` with its reason:
`up`, `plan` and `render` print them. Refuses to add anything that no drain and no second instance needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import relpath
from pathlib import PurePosixPath

from changeover.conf.nginx.grammar import Directive, Word
from changeover.hops.nginx import config
from changeover.hops.nginx.binary import NginxBinary
from changeover.hops.nginx.own_rules import INNER, LISTEN, PROXY, UPSTREAM, inner_name, names_upstream, pools
from changeover.hops.nginx.own_tree import OwnTree, blocks, everything, main_key, settings_of, shown
from changeover.hops.nginx.settings import HttpSettings, OwnConfig, StreamSettings
from changeover.hops.nginx.text import PLACEHOLDER, edited, filled
from changeover.model.units import human_seconds
from changeover.ports import LaunchContext

USER = "conf"
"""The folder of the user's files, in that of the instance."""
ROOT = "root"
"""The same for included files outside of the folder of the chain file, below which they keep their whole path."""
ADDED = "changeover"
"""The folder of the files that changeover adds."""
_TEMPORARY = tuple(f"{name}_temp_path" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


@dataclass(frozen=True)
class Change:
    """What changeover adds to the user's configuration or replaces in it, and why."""

    where: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} ({self.why})"


@dataclass(frozen=True)
class Rendered:
    """`main`: the first file. Paths are below the folder of the instance."""

    main: str
    files: dict[str, str]
    changes: tuple[Change, ...]


def render(settings: HttpSettings | StreamSettings, context: LaunchContext, binary: NginxBinary) -> Rendered:
    """The files of one instance. `settings.config` must hold the text of each of its files."""
    assert settings.config is not None
    work = _Work(OwnTree(settings.config), context)
    work.fill_in()
    added = work.main_block(binary, stream=isinstance(settings, StreamSettings))
    if isinstance(settings, HttpSettings):
        added |= work.http_block(settings)
        work.pools(settings)
        work.hide()
    return Rendered(f"{USER}/{main_key(settings.config)}", {**work.texts(), **added}, tuple(work.changes))


def names(given: OwnConfig) -> dict[str, str]:
    """Paths in nginx's messages -> the user's."""
    first = main_key(given)
    return {f"./{_home(first)}/{_up(first)}{ROOT}/": "/", f"./{USER}/": shown(given, first).removesuffix(first)}


def _home(first: str) -> PurePosixPath:
    """The folder of the first file, in that of the instance."""
    return PurePosixPath(USER, first).parent


def _up(first: str) -> str:
    """From the folder of the first file to that of the instance."""
    return "../" * (first.count("/") + 1)


class _Work:
    def __init__(self, tree: OwnTree, context: LaunchContext) -> None:
        self._tree, self._context = tree, context
        self._up = _up(main_key(tree.config))
        self._inner = {inner_name(one.tier): str(one.address) for one in context.behind}
        self._edits: dict[tuple[str, int, int], str] = {}
        self.changes: list[Change] = []

    def texts(self) -> dict[str, str]:
        found = {}
        for key, text in self._tree.config.files.items():
            edits = [(start, end, new) for (file, start, end), new in self._edits.items() if file == key]
            found[f"{ROOT}{key}" if key.startswith("/") else f"{USER}/{key}"] = edited(text, edits)
        return found

    # -- edits -----------------------------------------------------------------------------------------------------

    def _replace(self, one: Directive, word: Word, new: str) -> None:
        self._edits[one.file, word.start, word.end] = new

    def _insert(self, block: Directive, text: str) -> None:
        """At the beginning of a block, on the line of its brace."""
        self._edits[block.file, block.inside, block.inside] = (
            self._edits.get((block.file, block.inside, block.inside), "") + f" {text}"
        )

    def _note(self, where: Directive | str, what: str, why: str) -> None:
        change = Change(where if isinstance(where, str) else self._tree.place(where), what, why)
        if change not in self.changes:
            self.changes.append(change)

    # -- parts -----------------------------------------------------------------------------------------------------

    def fill_in(self) -> None:
        """The placeholders, and the paths of included files that lie elsewhere."""
        instance, home = self._context.instance, self._context.instance.directory
        tls = relpath(self._context.tls, f"{home}/{_home(main_key(self._tree.config))}")
        known = {
            LISTEN: f"{instance.address}{' proxy_protocol' if instance.proxied else ''}",
            INNER: next(iter(self._inner.values()), ""),
            **self._inner,
            PROXY: f"{self._up}{ADDED}/proxy.conf",
            "CHANGEOVER_CERTIFICATE": f"{tls}/edge.pem",
            "CHANGEOVER_KEY": f"{tls}/edge.key",
            "CHANGEOVER_LAME_DUCK": config.lame_duck(self._context),
            "CHANGEOVER_INSTANCE": instance.name,
            "CHANGEOVER_TEMPLATE": instance.template,
        }
        for one in everything(self._tree.main):
            if one.name == "include" and one.values[0].startswith("/"):
                self._replace(one, one.words[1], f"{self._up}{ROOT}{one.values[0]}")
                self._note(one, f"reads the copy of {one.values[0]}", "it is part of the template")
            for word in one.words[1:]:
                raw = self._tree.config.files[one.file][word.start : word.end]
                if raw == LISTEN:
                    self._replace(one, word, known[LISTEN])
                elif PLACEHOLDER.search(raw):
                    self._replace(one, word, filled(raw, lambda name: known[name]))
        if instance.proxied:
            self._note(LISTEN, "`proxy_protocol`", "the load balancer in front names the client in a PROXY header")

    def main_block(self, binary: NginxBinary, *, stream: bool) -> dict[str, str]:
        """What the process itself needs."""
        main, first = self._tree.main, main_key(self._tree.config)
        added = []
        if (
            stream
            and binary.stream_module
            and not any("ngx_stream_module" in one.values[0] for one in settings_of(main, "load_module"))
        ):
            added.append(f"load_module {binary.stream_module};")
            self._note(shown(self._tree.config, first), f"`{added[-1]}`", "the stream block needs it")
        for name, value, why in (
            ("daemon", "off", "the process that is started is the instance"),
            ("pid", "nginx.pid", "each instance has its own"),
            ("error_log", "stderr warn", "the log of the instance"),
        ):
            there = settings_of(main, name)
            if name == "pid" and there:
                self._replace(there[0], there[0].words[1], value)
                self._note(there[0], f"`{there[0]}` becomes `pid {value}`", why)
            elif not there:
                added.append(f"{name} {value};")
                self._note(shown(self._tree.config, first), f"`{name} {value}`", why)
        files = {f"{ADDED}/control.conf": config.control(self._context)}
        if not settings_of(main, "worker_shutdown_timeout"):
            line = config.shutdown(self._context)
            files[f"{ADDED}/main.conf"] = f"{line}\n"  # in a file of its own: the line has a comment
            added.append(f"include {self._up}{ADDED}/main.conf;")
            self._note(shown(self._tree.config, first), f"`{line.partition(';')[0]}`", "drain.deadline")
        self._edits[first, 0, 0] = " ".join([*added, ""])
        include = f"include {self._up}{ADDED}/control.conf;"
        what, why = "a server for readiness and counts", "changeover and the load balancer ask it"
        if (http := next(blocks(main, "http"), None)) is not None:
            self._insert(http, include)
            self._note(http, what, why)
        else:
            end = len(self._tree.config.files[first])
            temporary = " ".join(f"{name} tmp-{name.removesuffix('_temp_path')};" for name in _TEMPORARY)
            self._edits[first, end, end] = f"\nhttp {{ access_log off; {temporary} {include} }}\n"
            self._note(shown(self._tree.config, first), f"an http block with {what}", why)
        return files

    def http_block(self, settings: HttpSettings) -> dict[str, str]:
        """What connections need to end in time, and what the configuration asks for by name."""
        http = next(blocks(self._tree.main, "http"))
        assert http.block is not None
        lines = []
        for name, value, why in (
            ("keepalive_time", settings.keepalive_time, "a drain waits for the connections of clients, not for 1 h"),
            ("keepalive_timeout", settings.keepalive_timeout, "a drain waits for idle connections of clients"),
        ):
            if not settings_of(http.block, name):
                if name not in settings.model_fields_set:
                    value = min(value, self._context.tier.drain.deadline / 2)
                lines.append(f"{name} {round(value * 1000)}ms;")
                self._note(http, f"`{name} {human_seconds(value)}`", why)
        temporary = [name for name in _TEMPORARY if not settings_of(http.block, name)]
        lines += [f"{name} tmp-{name.removesuffix('_temp_path')};" for name in temporary]
        if temporary:
            self._note(http, f"{', '.join(temporary)}", "in the folder of the instance")
        words = [value for one in everything(self._tree.main) for value in one.values]
        files = {}
        if names_upstream(self._tree):
            lines.append(config.upstream(settings, next(iter(self._inner.values())), UPSTREAM))
            self._note(http, f"`upstream {UPSTREAM}`", "the tier behind, with a pool whose connections end in time")
        if PROXY in words:
            lines.append(config.proxy_maps(self._context))
            files[f"{ADDED}/proxy.conf"] = config.proxy_headers(self._context) + "\n"
        files[f"{ADDED}/http.conf"] = "\n".join(lines) + "\n"
        self._insert(http, f"include {self._up}{ADDED}/http.conf;")
        return files

    def pools(self, settings: HttpSettings) -> None:
        """The user's own upstreams of the tier behind."""
        for upstream in blocks(self._tree.main, "http", "upstream"):
            for one in settings_of(upstream.block or (), "server"):
                if INNER in one.values[0] and not any(value.startswith("max_fails=") for value in one.values):
                    last = one.words[-1]
                    raw = self._tree.config.files[one.file][last.start : last.end]
                    written = self._edits.get((one.file, last.start, last.end), raw)
                    self._replace(one, last, f"{written} max_fails=0")
                    why = "one failed connection would stop all requests for 10 s: it is a load balancer"
                    self._note(one, "`max_fails=0`", why)
        for upstream in pools(self._tree):
            for name, value in (
                ("keepalive_time", settings.upstream_keepalive_time),
                ("keepalive_timeout", settings.upstream_keepalive_timeout),
            ):
                if not settings_of(upstream.block or (), name):
                    self._insert(upstream, f"{name} {round(value * 1000)}ms;")
                    why = "the drain of the tier behind waits for these connections"
                    self._note(upstream, f"`{name} {human_seconds(value)}`", why)

    def hide(self) -> None:
        """The control paths of the tiers behind, at every server that clients reach."""
        for server in blocks(self._tree.main, "http", "server"):
            block = server.block or ()
            if not any(LISTEN in one.values for one in settings_of(block, "listen")):
                continue
            own = {one.values[-1] for one in settings_of(block, "location") if one.values}
            for path in self._context.hidden_paths:
                if path not in own:
                    self._insert(server, f"location = {path} {{ return 404; }}")
                    self._note(server, f"404 at {path}", "a control path of a tier behind")
