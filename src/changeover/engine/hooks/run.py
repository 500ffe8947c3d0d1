"""Performs what a chain's author wants done at the points of a rollout: commands, webhooks, notifications.

Hooks are waited for, each for its timeout at most; one that fails *before* something stops it, any other is only told.
Notifications are sent beside the rollout, in order for each address, and never stop or hold up anything but the end of
the command. No address of a webhook or a service is told or raised from here: whatever others wrote, be it an error of
theirs or the output of a hook, goes through `_theirs`, which takes every part of such an address out of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from textwrap import indent
from types import TracebackType
from typing import Any, Self

import httpx

from changeover.engine.hooks.notify import NotSent, send
from changeover.engine.runtime import Progress, ProgressListener
from changeover.kit.command import run_command
from changeover.kit.redact import SHOWN, Redactor
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.hooks import FROM_ENVIRONMENT, Hook, HookPayload, Notify, Point, is_web_address
from changeover.model.units import human_seconds

KEEP_CHARACTERS, KEEP_LINES, KEEP_REASON = 2000, 20, 200
"""How much of what a hook wrote or answered goes into a message: enough for a reason, too little to drown one. And how
many characters of its last line go into the one line that a journal keeps."""
_GRACE = 1.0
"""Seconds for the last notification, when its time is up, to be given up by itself rather than by the end."""
_CHECK = 60.0
"""Seconds for Apprise to say whether it understands an address: much more than it takes, since nothing waits for it."""
_READ = 4 * KEEP_CHARACTERS
"""Bytes kept of it until secrets and escape sequences are out."""
_HEADERS = {"Content-Type": "application/json", "User-Agent": "changeover", "Accept-Encoding": "identity"}
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_ORIGIN = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#@]*)", re.IGNORECASE)


class HookFailed(ChangeoverError):
    """A hook failed, timed out or could not be run. Where it stood before something, that was not begun.

    `reason` is the one line for a journal and for the hooks at `on_failure`; the error itself holds what it wrote.
    """

    def __init__(self, point: Point, tier: str, reason: str, wrote: str) -> None:
        self.point = point
        self.reason = reason + (f": {wrote.splitlines()[-1][:KEEP_REASON]}" if wrote else "")
        begun = "The step was not begun" if point is Point.BEFORE_STEP else f"Nothing of {tier} was moved"
        super().__init__(
            Problem(
                _with_output(reason, wrote),
                where=f"tier {tier}",
                state=f"{begun}; what serves goes on serving." if point.can_stop else "",
                next="Mend what the hook found, or the hook, and run the same command again." if point.can_stop else "",
            )
        )


class _Wrong(Exception):
    """What went wrong with a hook, to follow its name; and the end of what it wrote."""

    def __init__(self, what: str, wrote: str = "") -> None:
        super().__init__(what)
        self.wrote = wrote


@dataclass(frozen=True)
class _Address:
    """An address, what messages call it, and why it cannot be used, if so."""

    shown: str
    url: str = field(default="", repr=False)
    wrong: str = ""


@dataclass
class _Target:
    """Somebody to notify. The lock is fair, and so keeps messages in order."""

    notify: Notify
    address: _Address
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class HookRunner:
    """Runs a chain's hooks and sends its notifications while it is open (`async with`)."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        notify: Sequence[Notify],
        tell: ProgressListener,
        keep: Callable[[HookPayload, str], None],
        *,
        now: Callable[[], float],
        folder: Path,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`keep` writes down in one line what came of a hook. `now` is the controller's clock. `folder` is where
        commands run: the chain file's, so that `./x` means it."""
        self._tell, self._keep, self._now = tell, keep, now
        self._folder, self._environ = folder, environ
        self._redact = Redactor()
        self._hooks = [(hook, self._look_up(hook.webhook, web=True)) for hook in hooks]
        self._targets = [_Target(one, self._look_up(one.url, web=False)) for one in notify]
        self._checks: set[asyncio.Task[None]] = set()
        self._messages: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Tell at once which addresses are not known: the first failure is a bad moment to learn that one is not."""
        for hook, address in self._hooks:
            if address.wrong:
                self._say("", f"{_who(hook, address)} {address.wrong}", "warning")
        for target in self._targets:
            if target.address.wrong:
                self._say("", f"notify {target.address.shown} {target.address.wrong}", "warning")
            else:
                _start(self._checks, self._check(target))
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Wait for the notifications that are under way, unless the command is being stopped."""
        stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        patience = 0.0 if stopped else _GRACE + max((target.notify.timeout for target in self._targets), default=0.0)
        try:
            if self._messages:
                await asyncio.wait(self._messages, timeout=patience)
        finally:
            late = len(self._messages)
            for task in (left := [*self._messages, *self._checks]):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if late:
                self._say("", f"{late} notification{'s were' if late > 1 else ' was'} not sent any more", "warning")

    async def run(self, point: Point, payload: HookPayload) -> None:
        """Do everything that is to be done at that point. Raises HookFailed where a hook before something fails."""
        payload = replace(payload, point=point)
        for target in self._targets:
            if point in target.notify.at and not target.address.wrong:
                _start(self._messages, self._notify(target, payload))
        for hook, address in self._hooks:
            if hook.point is point:
                try:
                    await self._perform(hook, address, payload)
                except HookFailed as failure:
                    self._keep(payload, failure.reason)
                    if point.can_stop:
                        raise
                    self._say(payload.tier, failure.problems[0].what, "warning")

    # -- hooks ---------------------------------------------------------------------------------------------------

    async def _perform(self, hook: Hook, address: _Address, payload: HookPayload) -> None:
        began, who = time.monotonic(), _who(hook, address)
        try:
            if hook.command is not None:
                wrote = await self._run(hook, hook.command, who, payload)
            else:
                wrote = await self._ask(hook, address, payload)
        except _Wrong as wrong:
            raise HookFailed(hook.point, payload.tier, f"{who} {wrong}", wrong.wrote) from None
        except Exception as error:  # whatever it is, it is the hook's failure: none of it may end a rollout
            what = f"{type(error).__name__}: {self._theirs(str(error))}"
            raise HookFailed(hook.point, payload.tier, f"{who} could not be run: {what}", "") from None
        passed = f"{who} passed in {human_seconds(round(time.monotonic() - began, 2))}"
        self._keep(payload, passed)
        self._say(payload.tier, _with_output(passed, wrote))

    async def _run(self, hook: Hook, command: Sequence[str], who: str, payload: HookPayload) -> str:
        """Run a command; returns the end of what it wrote. Raises _Wrong."""
        spare = self._redact.longest  # so much of a secret may stand where the output was cut off
        try:
            ended = await run_command(
                command,
                stdin=payload.json(),
                cwd=self._folder,
                env={**self._environ, **payload.variables()},
                timeout=hook.timeout,
                keep=_READ + spare,
            )
        except (OSError, ValueError) as error:
            reason = self._theirs((error.strerror if isinstance(error, OSError) else None) or str(error))
            raise _Wrong(f"cannot be run in {self._folder}: {reason}") from error
        text = self._theirs(ended.output.decode(errors="replace"))
        wrote = _last(text[spare:] if ended.dropped else text, cut=ended.dropped > 0)
        if ended.survived:
            self._say(payload.tier, f"{who} started something that cannot be ended from here; it still runs", "warning")
        if ended.code is None:
            raise _Wrong(f"took longer than {human_seconds(hook.timeout)} and was ended", wrote)
        if ended.code > 0:
            raise _Wrong(f"ended with exit code {ended.code}", wrote)
        if ended.code < 0:
            raise _Wrong(f"was ended by signal {-ended.code}", wrote)
        return wrote

    async def _ask(self, hook: Hook, address: _Address, payload: HookPayload) -> str:
        """Ask a webhook. Raises _Wrong with the beginning of its answer."""
        if address.wrong:
            raise _Wrong(address.wrong)
        status, wrote = 0, b""
        spare = self._redact.longest
        try:
            async with asyncio.timeout(hook.timeout), _posted(address.url, payload.json()) as answer:
                status = answer.status_code
                if answer.is_success:
                    return ""
                async for piece in answer.aiter_raw(_READ):
                    wrote += piece
                    if len(wrote) > _READ + spare:
                        break
        except TimeoutError:
            if not status:
                raise _Wrong(f"gave no answer within {human_seconds(hook.timeout)}") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _Wrong("cannot be asked: that is no address") from None
        except httpx.HTTPError as error:
            if not status:
                raise _Wrong(f"could not be asked: {self._theirs(str(error)) or type(error).__name__}") from error
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        text = self._theirs(wrote.decode(errors="replace"))
        cut = len(wrote) > _READ + spare
        raise _Wrong(f"answered {status}{redirect}", _first(text[: len(text) - spare] if cut else text, cut=cut))

    # -- notifications -------------------------------------------------------------------------------------------

    async def _check(self, target: _Target) -> None:
        """Tell if Apprise does not understand an address."""
        if why := await self._not_sent(target, None):
            self._say("", f"notify {target.address.shown} cannot work: {why}", "warning")

    async def _notify(self, target: _Target, payload: HookPayload) -> None:
        """Send a message, or tell why it was not sent."""
        async with target.turn:
            if why := await self._not_sent(target, payload):
                shown = f"notify {target.address.shown} was not told of {payload.point}: {why}"
                self._say(payload.tier, shown, "warning")

    async def _not_sent(self, target: _Target, payload: HookPayload | None) -> str:
        timeout = _CHECK if payload is None else target.notify.timeout
        try:
            await send(target.address.url, payload, timeout, self._environ)
        except NotSent as error:
            return _first(self._theirs(str(error)), cut=False)
        except Exception as error:  # whatever it is: a notification never stops a rollout
            return f"{type(error).__name__}: {_first(self._theirs(str(error)), cut=False)}"
        return ""

    # -- what is said --------------------------------------------------------------------------------------------

    def _say(self, tier: str, text: str, level: str = "info") -> None:
        self._tell(Progress(self._now(), tier or "hooks", text, level=level))

    def _theirs(self, text: str) -> str:
        """What somebody else wrote, without secrets and without effect on a terminal."""
        return self._redact(_plain(text))

    def _look_up(self, said: str | None, *, web: bool) -> _Address:
        """What a chain file says of an address -> the address. From then on it is a secret."""
        if said is None:
            return _Address("")
        url, shown = said, said
        if said.startswith(FROM_ENVIRONMENT):
            name = said.removeprefix(FROM_ENVIRONMENT)
            url = self._environ.get(name, "").strip()
            if not url:
                return _Address(shown, wrong=f"cannot be reached: environment variable {name} is not set")
        elif web:
            shown = "".join(match.groups()) if (match := _ORIGIN.match(said)) else SHOWN
        else:
            shown = said.partition("://")[0] + "://" + SHOWN
        self._redact.learn(url, open=shown)
        if web and not is_web_address(url):
            return _Address(shown, wrong=f"cannot be reached: {shown} holds no http or https URL")
        return _Address(shown, url)


def _who(hook: Hook, address: _Address) -> str:
    if hook.name:
        return f"{hook.point} hook {hook.name}"
    return f"{hook.point} hook {PurePath(hook.command[0]).name if hook.command else address.shown}"


def _start(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


# -- asking without leaving a trace ------------------------------------------------------------------------------

_ASKING: ContextVar[bool] = ContextVar("_ASKING", default=False)


@asynccontextmanager
async def _posted(url: str, content: bytes) -> AsyncIterator[httpx.Response]:
    """The answer to a POST, its body not read yet. The caller sees to the time."""
    with _unlogged():
        async with (
            httpx.AsyncClient(timeout=None, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=_HEADERS) as answer,
        ):
            yield answer


@contextmanager
def _unlogged() -> Iterator[None]:
    """httpx logs every address it asks, its token included: not those asked in here."""

    def is_another(_: logging.LogRecord) -> bool:
        return not _ASKING.get()

    log, token = logging.getLogger("httpx"), _ASKING.set(True)
    log.addFilter(is_another)
    try:
        yield
    finally:
        log.removeFilter(is_another)
        _ASKING.reset(token)


# -- what others wrote -------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", text).expandtabs(4).replace("\r", "\n")
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()


def _last(text: str, *, cut: bool) -> str:
    """The end of a text, told to be one where something is missing."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[-KEEP_CHARACTERS:])[-KEEP_LINES:])
    return f"[…]\n{shown}" if cut or shown != whole else shown


def _first(text: str, *, cut: bool) -> str:
    """The beginning of a text, likewise."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[:KEEP_CHARACTERS])[:KEEP_LINES])
    return f"{shown}\n[…]" if cut or shown != whole else shown


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _with_output(text: str, wrote: str) -> str:
    return f"{text}; it said:\n{indent(wrote, '    ')}" if wrote else text
