"""Perform the hooks of a chain file at the points of a rollout: commands, webhooks, notifications.

The rollout waits for each hook, for its timeout at most. A failing hook at a *before* point stops the rollout; the
failure of any other hook is only reported. Notifications are sent concurrently, in order for each address, and delay
only the end of the command. No message or error from here shows the address of a webhook or a service: foreign text,
such as an error of a library or the output of a hook, goes through `_sanitise`, which removes every part of such an
address.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self

from changeover.engine.hooks.addresses import NO_ADDRESS, HookAddress, service_address, web_address
from changeover.engine.hooks.notify import NotSent, send
from changeover.engine.hooks.output import MAX_READ, MAX_REASON, end_of, plain, start_of, with_output
from changeover.engine.hooks.webhook import post
from changeover.engine.runtime import Progress, ProgressListener
from changeover.kit.command import run_command
from changeover.kit.redact import Redactor
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.hooks import Hook, HookPayload, Notify, Point
from changeover.model.units import human_seconds


@dataclass(frozen=True)
class HookTiming:
    """Seconds."""

    last_message: float = 1.0
    """For the last notification, after its timeout, to report that it was not sent; then it is cancelled."""
    address_check: float = 60.0
    """For Apprise to check an address: much more than it takes, since nothing waits for it."""


class HookFailed(ChangeoverError):
    """A hook failed, timed out or could not run. After a *before* hook, the controller has not begun the tier or step.

    `reason` is one line for the journal and for the hooks at `on_failure`; the error also contains the hook's output.
    """

    def __init__(self, point: Point, tier: str, reason: str, output: str) -> None:
        self.point = point
        self.reason = reason + (f": {output.splitlines()[-1][:MAX_REASON]}" if output else "")
        begun = "The step has not begun" if point is Point.BEFORE_STEP else f"No instance of {tier} was changed"
        super().__init__(
            Problem(
                with_output(reason, output),
                where=f"tier {tier}",
                state=f"{begun}. Running instances continue to serve." if point.can_stop else "",
                next="Fix the cause that the hook reports, or the hook, and run the same command again."
                if point.can_stop
                else "",
            )
        )


class _Failure(Exception):
    """Why a hook failed, in words that follow its name; and its output."""

    def __init__(self, what: str, output: str = "") -> None:
        super().__init__(what)
        self.output = output


@dataclass
class _Notified:
    """A service to notify. The lock is fair, and so keeps messages in order."""

    notify: Notify
    address: HookAddress
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
        timing: HookTiming = HookTiming(),
    ) -> None:
        """`record` writes the outcome of a hook, one line, to the journal. `now` is the controller's clock. Commands
        run in `folder`, that of the chain file, so that `./x` names a file beside it."""
        self._on_progress, self._record, self._now = on_progress, record, now
        self._folder, self._environ, self._timing = folder, environ, timing
        self._redact = Redactor()
        self._hooks = [
            (hook, NO_ADDRESS if hook.webhook is None else web_address(hook.webhook, environ, self._redact))
            for hook in hooks
        ]
        self._targets = [_Notified(one, service_address(one.url, environ, self._redact)) for one in notify]
        self._checks: set[asyncio.Task[None]] = set()
        self._messages: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Report at once which addresses cannot work: the first failure of a rollout is too late for that."""
        for hook, address in self._hooks:
            if address.problem:
                self._report("", f"{_title(hook, address)} {address.problem}", "warning")
        for target in self._targets:
            if target.address.problem:
                self._report("", f"notify {target.address.shown} {target.address.problem}", "warning")
            else:
                _start(self._checks, self._check(target))
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        """Wait for the notifications that are being sent, unless the operator stops the command."""
        stopped = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        longest = max((target.notify.timeout for target in self._targets), default=0.0)
        patience = 0.0 if stopped else self._timing.last_message + longest
        try:
            if self._messages:
                await asyncio.wait(self._messages, timeout=patience)
        finally:
            late = len(self._messages)
            for task in (left := [*self._messages, *self._checks]):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if late:
                text = f"{late} notification{'s were' if late > 1 else ' was'} not sent before the command ended"
                self._report("", text, "warning")

    async def run(self, point: Point, payload: HookPayload) -> None:
        """Run the hooks of a point and begin its notifications. Raises HookFailed where one before a step or a tier
        fails."""
        payload = replace(payload, point=point)
        for target in self._targets:
            if point in target.notify.at and not target.address.problem:
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

    # -- hooks -------------------------------------------------------------------------------------------------------

    async def _perform(self, hook: Hook, address: HookAddress, payload: HookPayload) -> None:
        began, name = time.monotonic(), _title(hook, address)
        try:
            if hook.command is not None:
                output = await self._run_command(hook, hook.command, name, payload)
            else:
                await self._post(hook, address, payload)
                output = ""
        except _Failure as failure:
            raise HookFailed(hook.point, payload.tier, f"{name} {failure}", failure.output) from None
        except Exception as error:  # any other error is the hook's failure, too: none of them may end a rollout
            what = f"{type(error).__name__}: {self._sanitise(str(error))}"
            raise HookFailed(hook.point, payload.tier, f"{name} could not be run: {what}", "") from None
        passed = f"{name} passed in {human_seconds(round(time.monotonic() - began, 2))}"
        self._record(payload, passed)
        self._report(payload.tier, with_output(passed, output))

    async def _run_command(self, hook: Hook, command: Sequence[str], name: str, payload: HookPayload) -> str:
        """Run a command; returns the end of its output. Raises _Failure."""
        spare = self._redact.longest  # so much of a secret may stand where the output was cut
        try:
            ended = await run_command(
                command,
                stdin=payload.json(),
                cwd=self._folder,
                env={**self._environ, **payload.variables()},
                timeout=hook.timeout,
                keep=MAX_READ + spare,
            )
        except (OSError, ValueError) as error:
            reason = self._sanitise((error.strerror if isinstance(error, OSError) else None) or str(error))
            raise _Failure(f"cannot be run in {self._folder}: {reason}") from error
        written = self._sanitise(ended.output.decode(errors="replace"))
        output = end_of(written[spare:] if ended.dropped else written, cut=ended.dropped > 0)
        if ended.survived:
            self._report(
                payload.tier, f"{name} started a process that cannot be killed from here; it still runs", "warning"
            )
        if ended.code is None:
            raise _Failure(f"took longer than {human_seconds(hook.timeout)} and was killed", output)
        if ended.code > 0:
            raise _Failure(f"ended with exit code {ended.code}", output)
        if ended.code < 0:
            raise _Failure(f"was killed by signal {-ended.code}", output)
        return output

    async def _post(self, hook: Hook, address: HookAddress, payload: HookPayload) -> None:
        """POST to a webhook. Raises _Failure with the start of an unsuccessful response."""
        import httpx  # as in webhook.py

        if address.problem:
            raise _Failure(address.problem)
        status, body = 0, b""
        spare = self._redact.longest
        try:
            async with asyncio.timeout(hook.timeout), post(address.url, payload.json()) as response:
                status = response.status_code
                if response.is_success:
                    return
                async for piece in response.aiter_raw(MAX_READ):
                    body += piece
                    if len(body) > MAX_READ + spare:
                        break
        except TimeoutError:
            if not status:
                raise _Failure(f"did not respond within {human_seconds(hook.timeout)}") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _Failure("cannot be reached: its address is not valid") from None
        except httpx.HTTPError as error:
            if not status:
                raise _Failure(f"could not be reached: {self._sanitise(str(error)) or type(error).__name__}") from error
        redirect = "; redirects are not followed" if 300 <= status < 400 else ""
        text = self._sanitise(body.decode(errors="replace"))
        cut = len(body) > MAX_READ + spare
        raise _Failure(
            f"responded with {status}{redirect}", start_of(text[: len(text) - spare] if cut else text, cut=cut)
        )

    # -- notifications -----------------------------------------------------------------------------------------------

    async def _check(self, target: _Notified) -> None:
        """Report an address that Apprise does not understand."""
        if reason := await self._not_sent(target, None):
            self._report("", f"notify {target.address.shown} cannot work: {reason}", "warning")

    async def _notify(self, target: _Notified, payload: HookPayload) -> None:
        """Send a message, or report why it was not sent."""
        async with target.turn:
            if reason := await self._not_sent(target, payload):
                text = f"notify {target.address.shown} did not receive {payload.point}: {reason}"
                self._report(payload.tier, text, "warning")

    async def _not_sent(self, target: _Notified, payload: HookPayload | None) -> str:
        timeout = self._timing.address_check if payload is None else target.notify.timeout
        try:
            await send(target.address.url, payload, timeout, self._environ)
        except NotSent as error:
            return start_of(self._sanitise(str(error)), cut=False)
        except Exception as error:  # no error of a notification may stop a rollout
            return f"{type(error).__name__}: {start_of(self._sanitise(str(error)), cut=False)}"
        return ""

    # -- messages ----------------------------------------------------------------------------------------------------

    def _report(self, tier: str, text: str, level: str = "info") -> None:
        self._on_progress(Progress(self._now(), tier, text, level=level, about="" if tier else "hooks"))

    def _sanitise(self, text: str) -> str:
        """A text of others, without secrets and without effect on a terminal."""
        return self._redact(plain(text))


def _title(hook: Hook, address: HookAddress) -> str:
    if hook.name:
        return f"{hook.point} hook {hook.name}"
    return f"{hook.point} hook {PurePath(hook.command[0]).name if hook.command else address.shown}"


def _start(tasks: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
