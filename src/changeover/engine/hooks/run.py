"""Perform the hooks of a chain file at the points of a rollout: commands, webhooks, notifications.

The rollout waits for each hook, for its timeout at most. A failing hook at a *before* point stops the rollout; the
failure of any other hook is only reported. Notifications are sent concurrently, in order for each address, and delay
only the end of the command. No message or error from here shows the address of a webhook or a service: foreign text,
such as an error of a library or the output of a hook, goes through `_sanitise`, which removes every part of such an
address.
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
"""Characters and lines of a hook's output in a message: enough for a reason, little enough to read; and characters of
its last line in the journal."""
_GRACE = 1.0
"""Seconds beyond its timeout in which the last notification can report the timeout itself."""
_CHECK = 60.0
"""Seconds for the check of an address by Apprise: far more than it needs, because nothing waits for it."""
_READ = 4 * KEEP_CHARACTERS
"""Bytes of the output that are kept until secrets and escape sequences are removed."""
_HEADERS = {"Content-Type": "application/json", "User-Agent": "changeover", "Accept-Encoding": "identity"}
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")
_ORIGIN = re.compile(r"(https?://)(?:[^/?#]*@)?([^/?#@]*)", re.IGNORECASE)


class HookFailed(ChangeoverError):
    """A hook failed, timed out or could not run. After a *before* hook, the controller has not begun the tier or step.

    `reason` is one line for the journal and for the hooks at `on_failure`; the error also contains the hook's output.
    """

    def __init__(self, point: Point, tier: str, reason: str, wrote: str) -> None:
        self.point = point
        self.reason = reason + (f": {wrote.splitlines()[-1][:KEEP_REASON]}" if wrote else "")
        begun = "The step has not begun" if point is Point.BEFORE_STEP else f"No instance of {tier} was changed"
        super().__init__(
            Problem(
                _with_output(reason, wrote),
                where=f"tier {tier}",
                state=f"{begun}. Running instances continue to serve." if point.can_stop else "",
                next="Fix the cause that the hook reports, or the hook, and run the same command again."
                if point.can_stop
                else "",
            )
        )


class _Wrong(Exception):
    """The failure of a hook, to follow its name in a message, and the end of its output."""

    def __init__(self, what: str, wrote: str = "") -> None:
        super().__init__(what)
        self.wrote = wrote


@dataclass(frozen=True)
class _Address:
    """An address, its name in messages, and the reason if it cannot be used."""

    shown: str
    url: str = field(default="", repr=False)
    wrong: str = ""


@dataclass
class _Target:
    """A recipient of notifications. The lock is fair, and so keeps messages in order."""

    notify: Notify
    address: _Address
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class HookRunner:
    """Runs a chain's hooks and sends its notifications while it is open (`async with`)."""

    def __init__(
        self,
        hooks: Sequence[Hook],
        notify: Sequence[Notify],
        on_progress: ProgressListener,
        record: Callable[[HookPayload, str], None],
        *,
        now: Callable[[], float],
        folder: Path,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """`record` writes the outcome of a hook in one line. `now` is the controller's clock. Commands run in `folder`,
        the folder of the chain file, so that `./x` is relative to it."""
        self._on_progress, self._record, self._now = on_progress, record, now
        self._folder, self._environ = folder, environ
        self._redact = Redactor()
        self._hooks = [(hook, self._look_up(hook.webhook, web=True)) for hook in hooks]
        self._targets = [_Target(one, self._look_up(one.url, web=False)) for one in notify]
        self._checks: set[asyncio.Task[None]] = set()
        self._messages: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Report unusable addresses at the start, not at the first failure of a rollout."""
        for hook, address in self._hooks:
            if address.wrong:
                self._report("", f"{_who(hook, address)} {address.wrong}", "warning")
        for target in self._targets:
            if target.address.wrong:
                self._report("", f"notify {target.address.shown} {target.address.wrong}", "warning")
            else:
                _start(self._checks, self._check(target))
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Wait for the notifications in flight, unless the operator stops the command."""
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
                self._report(
                    "",
                    f"{late} notification{'s were' if late > 1 else ' was'} not sent before the command ended",
                    "warning",
                )

    async def run(self, point: Point, payload: HookPayload) -> None:
        """Run the hooks and send the notifications of that point. Raises HookFailed for a failing *before* hook."""
        payload = replace(payload, point=point)
        for target in self._targets:
            if point in target.notify.at and not target.address.wrong:
                _start(self._messages, self._notify(target, payload))
        for hook, address in self._hooks:
            if hook.point is point:
                try:
                    await self._perform(hook, address, payload)
                except HookFailed as failure:
                    self._record(payload, failure.reason)
                    if point.can_stop:
                        raise
                    self._report(payload.tier, failure.problems[0].what, "warning")

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
        except Exception as error:  # any other error counts as the hook's failure and must not end the rollout
            what = f"{type(error).__name__}: {self._sanitise(str(error))}"
            raise HookFailed(hook.point, payload.tier, f"{who} could not be run: {what}", "") from None
        passed = f"{who} passed in {human_seconds(round(time.monotonic() - began, 2))}"
        self._record(payload, passed)
        self._report(payload.tier, _with_output(passed, wrote))

    async def _run(self, hook: Hook, command: Sequence[str], who: str, payload: HookPayload) -> str:
        """Run a command and return the end of its output. Raises _Wrong."""
        spare = self._redact.longest  # the output may have been cut inside a secret of this length
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
            reason = self._sanitise((error.strerror if isinstance(error, OSError) else None) or str(error))
            raise _Wrong(f"cannot be run in {self._folder}: {reason}") from error
        text = self._sanitise(ended.output.decode(errors="replace"))
        wrote = _last(text[spare:] if ended.dropped else text, cut=ended.dropped > 0)
        if ended.survived:
            self._report(
                payload.tier, f"{who} started a process that cannot be killed from here; it still runs", "warning"
            )
        if ended.code is None:
            raise _Wrong(f"took longer than {human_seconds(hook.timeout)} and was killed", wrote)
        if ended.code > 0:
            raise _Wrong(f"ended with exit code {ended.code}", wrote)
        if ended.code < 0:
            raise _Wrong(f"was killed by signal {-ended.code}", wrote)
        return wrote

    async def _ask(self, hook: Hook, address: _Address, payload: HookPayload) -> str:
        """POST to a webhook. Raises _Wrong with the beginning of its response."""
        if address.wrong:
            raise _Wrong(address.wrong)
        status, wrote = 0, b""
        spare = self._redact.longest
        try:
            async with asyncio.timeout(hook.timeout), _posted(address.url, payload.json()) as response:
                status = response.status_code
                if response.is_success:
                    return ""
                async for piece in response.aiter_raw(_READ):
                    wrote += piece
                    if len(wrote) > _READ + spare:
                        break
        except TimeoutError:
            if not status:
                raise _Wrong(f"did not respond within {human_seconds(hook.timeout)}") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _Wrong("cannot be reached: its address is not valid") from None
        except httpx.HTTPError as error:
            if not status:
                raise _Wrong(f"could not be reached: {self._sanitise(str(error)) or type(error).__name__}") from error
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        text = self._sanitise(wrote.decode(errors="replace"))
        cut = len(wrote) > _READ + spare
        raise _Wrong(f"responded with {status}{redirect}", _first(text[: len(text) - spare] if cut else text, cut=cut))

    # -- notifications -------------------------------------------------------------------------------------------

    async def _check(self, target: _Target) -> None:
        """Report an address that Apprise does not know."""
        if why := await self._not_sent(target, None):
            self._report("", f"notify {target.address.shown} cannot work: {why}", "warning")

    async def _notify(self, target: _Target, payload: HookPayload) -> None:
        """Send a message, or report why it was not sent."""
        async with target.turn:
            if why := await self._not_sent(target, payload):
                shown = f"notify {target.address.shown} did not receive {payload.point}: {why}"
                self._report(payload.tier, shown, "warning")

    async def _not_sent(self, target: _Target, payload: HookPayload | None) -> str:
        timeout = _CHECK if payload is None else target.notify.timeout
        try:
            await send(target.address.url, payload, timeout, self._environ)
        except NotSent as error:
            return _first(self._sanitise(str(error)), cut=False)
        except Exception as error:  # any other error: a notification never stops a rollout
            return f"{type(error).__name__}: {_first(self._sanitise(str(error)), cut=False)}"
        return ""

    # -- reporting -----------------------------------------------------------------------------------------------

    def _report(self, tier: str, text: str, level: str = "info") -> None:
        self._on_progress(Progress(self._now(), tier or "hooks", text, level=level))

    def _sanitise(self, text: str) -> str:
        """Foreign text without secrets and without control sequences of a terminal."""
        return self._redact(_plain(text))

    def _look_up(self, written: str | None, *, web: bool) -> _Address:
        """Resolve an address of the chain file. From then on it is a secret."""
        if written is None:
            return _Address("")
        url, shown = written, written
        if written.startswith(FROM_ENVIRONMENT):
            name = written.removeprefix(FROM_ENVIRONMENT)
            url = self._environ.get(name, "").strip()
            if not url:
                return _Address(shown, wrong=f"cannot be reached: environment variable {name} is not set")
        elif web:
            shown = "".join(match.groups()) if (match := _ORIGIN.match(written)) else SHOWN
        else:
            shown = written.partition("://")[0] + "://" + SHOWN
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


# -- requests that are not logged --------------------------------------------------------------------------------

_UNLOGGED: ContextVar[bool] = ContextVar("_UNLOGGED", default=False)


@asynccontextmanager
async def _posted(url: str, content: bytes) -> AsyncIterator[httpx.Response]:
    """The response to a POST, before its body is read. The caller limits the time."""
    with _unlogged():
        async with (
            httpx.AsyncClient(timeout=None, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=_HEADERS) as response,
        ):
            yield response


@contextmanager
def _unlogged() -> Iterator[None]:
    """Suppress the log lines of httpx in this block: they contain the address with its token."""

    def is_other_request(_: logging.LogRecord) -> bool:
        return not _UNLOGGED.get()

    log, token = logging.getLogger("httpx"), _UNLOGGED.set(True)
    log.addFilter(is_other_request)
    try:
        yield
    finally:
        log.removeFilter(is_other_request)
        _UNLOGGED.reset(token)


# -- foreign text ------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    text = _ESCAPES.sub("", text).expandtabs(4).replace("\r", "\n")
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()


def _last(text: str, *, cut: bool) -> str:
    """The end of a text, marked with […] if something is missing."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[-KEEP_CHARACTERS:])[-KEEP_LINES:])
    return f"[…]\n{shown}" if cut or shown != whole else shown


def _first(text: str, *, cut: bool) -> str:
    """The beginning of a text, marked in the same way."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[:KEEP_CHARACTERS])[:KEEP_LINES])
    return f"{shown}\n[…]" if cut or shown != whole else shown


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _with_output(text: str, wrote: str) -> str:
    return f"{text}. Its output:\n{indent(wrote, '    ')}" if wrote else text
