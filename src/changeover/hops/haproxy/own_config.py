"""A haproxy.cfg of the user's own, made ready for one instance: the user's lines with edits, and a file beside it.

Pure. Each edit is a `Change` with its reason: `up`, `plan` and `render` print them. A line that is added stands at the
beginning of its section, and HAProxy's messages name the user's lines all the same. Refuses to add anything that no
drain and no second instance needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from changeover.hops.haproxy import config
from changeover.hops.haproxy.own_rules import CERTIFICATE, INSTANCE, LAME_DUCK, TEMPLATE, listening
from changeover.hops.haproxy.own_text import Configuration, Line, Section, filled
from changeover.hops.haproxy.questions import READY
from changeover.hops.haproxy.settings import HaproxyHttpSettings, HaproxyTcpSettings
from changeover.hops.own_file import INNER, LISTEN, Change, inner_name
from changeover.model.units import human_seconds
from changeover.ports import LaunchContext

ADDED = "changeover.cfg"
"""The file with everything that is in no section of the user's. It comes last, and gives no defaults to any of them."""
USER = "changeover-user"
"""The folder of the user's file, in that of the instance. No path of a user's looks like it."""


@dataclass(frozen=True)
class Rendered:
    """`main`: the user's file. Paths are below the folder of the instance."""

    main: str
    files: dict[str, str]
    changes: tuple[Change, ...]
    known_as: dict[str, str]
    """Places in HAProxy's messages -> the user's."""


def render(settings: HaproxyHttpSettings | HaproxyTcpSettings, context: LaunchContext) -> Rendered:
    """The files of one instance. `settings.config` must hold its text."""
    assert settings.config is not None
    assert settings.config.text is not None
    work = _Work(settings.config.text, settings.config.path, context)
    work.listen(http=isinstance(settings, HaproxyHttpSettings))
    if isinstance(settings, HaproxyHttpSettings):
        work.connections(settings)
        work.inward()
    added = work.process()
    main = f"{USER}/{PurePath(settings.config.path).name}"
    text, known_as = work.text(main)
    return Rendered(main, {main: text, ADDED: added}, tuple(work.changes), known_as)


class _Work:
    def __init__(self, text: str, path: str, context: LaunchContext) -> None:
        self._found = Configuration(text)
        self._section, self._bind = listening(self._found)
        self._path, self._context = path, context
        self._lines = text.splitlines()
        self._appended: dict[int, str] = {}
        """Number of a line -> words at its end, before its comment."""
        self._inserted: dict[int, list[str]] = {}
        """Number of a line -> lines before it."""
        self.changes: list[Change] = []

    def text(self, main: str) -> tuple[str, dict[str, str]]:
        """The file with its edits, and places in it -> the user's."""
        code = {line.number: line.text for one in self._found.sections for line in (one.head, *one.lines)}
        known = self._placeholders()
        lines: list[tuple[int, str]] = []
        for number, raw in enumerate([*self._lines, ""], 1):
            lines += [(number - 1, f"    {added}") for added in self._inserted.get(number, ())]
            words = code.get(number, "")
            # The condition is several words, and every other value is one.
            code_filled = filled(words.replace(LAME_DUCK, config.DRAINS), known)
            lines.append((number, code_filled + self._appended.get(number, "") + raw[len(words) :]))
        places = {f"{main}:{at}": f"{self._path}:{number}" for at, (number, _) in enumerate(lines, 1)}
        # The highest first: `:1` is also the beginning of `:12`.
        return "\n".join(line for _, line in lines), dict(reversed(places.items()))

    def _placeholders(self) -> dict[str, str]:
        context = self._context
        inner = {inner_name(one.tier): str(one.address) for one in context.behind}
        return {
            LISTEN: str(context.instance.address),
            INNER: next(iter(inner.values()), ""),
            **inner,
            CERTIFICATE: f"{context.tls}/edge.pem",
            INSTANCE: context.instance.name,
            TEMPLATE: context.instance.template,
        }

    def _note(self, where: Line | str, what: str, why: str) -> None:
        at = where if isinstance(where, str) else f"{self._path}:{where.number}"
        self.changes.append(Change(at, what, why))

    def _add(self, section: Section, line: str, why: str, what: str = "") -> None:
        """At the beginning of a section, where no rule of the user's comes before it."""
        self._inserted.setdefault(section.head.number + 1, []).append(line)
        self._note(section.head, what or f"`{line}`", why)

    def _append(self, line: Line, words: str, why: str) -> None:
        self._appended[line.number] = f"{self._appended.get(line.number, '')} {words}"
        self._note(line, f"`{words}`", why)

    # -- parts -----------------------------------------------------------------------------------------------------

    def listen(self, *, http: bool) -> None:
        """At the address of the instance."""
        if http and "ssl" in self._bind.words and "alpn" not in self._bind.words:
            self._append(self._bind, "alpn http/1.1", "HAProxy ends no HTTP/2 connection while it drains")
        if self._context.instance.proxied:
            self._append(self._bind, "accept-proxy", "the load balancer in front names the client in a PROXY header")

    def connections(self, settings: HaproxyHttpSettings) -> None:
        """What the connections of clients need to end in time, and what no client may ask."""
        for rule in config.hidden(self._context):
            paths = ", ".join(self._context.hidden_paths)
            self._add(self._section, rule, "control paths of the tiers behind", f"404 at {paths}")
        self._add(self._section, config.CLOSES, "while it drains, each connection ends with its next response")
        if not self._found.lines(self._section, "timeout", "http-keep-alive"):
            seconds = settings.keepalive_timeout
            if "keepalive_timeout" not in settings.model_fields_set:
                seconds = min(seconds, self._context.tier.drain.deadline / 2)
            line = f"timeout http-keep-alive {round(seconds * 1000)}ms"
            why = "a drain waits for idle connections of clients"
            self._add(self._section, line, why, f"`timeout http-keep-alive {human_seconds(seconds)}`")

    def inward(self) -> None:
        """The user's own ways to the tiers behind."""
        for section in self._found.of("backend", "listen"):
            to_inner = any(INNER in word for line in section.of("server") for word in line.words)
            kept = any(
                self._found.lines(section, "option", name)
                for name in ("http-server-close", "http-keep-alive", "httpclose")
            )
            if to_inner and not kept:
                why = "HAProxy knows no longest age of a connection, and the drain of a tier behind would wait for it"
                self._add(section, "option http-server-close", why)

    def process(self) -> str:
        """What the process itself needs, in a file of its own."""
        lines = [config.stats_socket()]
        self._note(self._path, f"`{lines[0]}`", "changeover counts requests there, and has the instance drain")
        if not any(section.of("hard-stop-after") for section in self._found.of("global")):
            lines.append(config.hard_stop(self._context))
            self._note(self._path, f"`{lines[-1].partition('  #')[0]}`", "drain.deadline")
        what = f"frontend changeover.control and backend {READY}"
        self._note(self._path, what, "changeover and the load balancer ask there whether the instance is ready")
        own = "".join(f"    {line}\n" for line in lines)
        return f"global\n{own}\n{config.control(self._context)}"
