"""Makes the calls of the Compute API: in threads, with a limit of time, again where that is safe, and with one error.

The client of Google is synchronous. Its own retries and its own waiting for operations are not used: the first repeat
too little, and the second asks Google's address whatever the endpoint is.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from changeover.platforms.gcp.api.endpoint import Endpoint, credentials_for
from changeover.platforms.gcp.api.retry import Failure, RetryTiming, pause
from changeover.ports import Unknown

Answer = TypeVar("Answer")
_THREADS = 16
"""Calls at once; more wait."""


class Refused(Unknown):
    """The API answered, and not with what was asked for. `code` is the HTTP status."""

    def __init__(self, what: str, failure: Failure) -> None:
        super().__init__(f"{what}: {failure}")
        self.failure = failure

    @property
    def code(self) -> int | None:
        return self.failure.code

    @property
    def is_stale(self) -> bool:
        """Whether another client has changed the resource since it was read."""
        return self.failure.code == 412 or self.failure.reason in ("conditionNotMet", "CONDITION_NOT_MET")


class Calls:
    """One project's calls. Nothing is imported, and no credentials are looked for, before the first one."""

    def __init__(self, endpoint: Endpoint, impersonate: str | None, timing: RetryTiming) -> None:
        self._endpoint = endpoint
        self._impersonate = impersonate
        self._timing = timing
        self._clients: dict[str, Any] = {}
        self._credentials: Any = None
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="compute")
        self.made = 0
        """Calls so far, repeated ones included: what they cost of the project's quota."""

    @property
    def types(self) -> Any:
        """The package of Google's client."""
        import google.cloud.compute_v1

        return google.cloud.compute_v1

    def _client(self, kind: str) -> Any:
        from google.api_core.client_options import ClientOptions

        if (known := self._clients.get(kind)) is None:
            if self._credentials is None:
                self._credentials = credentials_for(self._endpoint, self._impersonate)
            options = ClientOptions(api_endpoint=self._endpoint.url)
            known = getattr(self.types, kind)(credentials=self._credentials, client_options=options)
            self._clients[kind] = known
        return known

    async def ask(
        self, what: str, kind: str, method: str, arguments: Mapping[str, Any], read: Callable[[Any], Answer]
    ) -> Answer:
        """The answer of `method` of the client `kind`, as `read` reads it; both run in a thread.

        `what`: the question in words, for messages. A mutation must have a request id, by which the API knows it again
        when it is repeated. Raises Refused, and Unknown where there is no answer.
        """
        attempt = 0
        while True:
            attempt += 1
            self.made += 1
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._call, kind, method, read, arguments
                )
            except _Failed as failed:
                seconds = pause(failed.failure, attempt, self._timing)
                if seconds is None:
                    if failed.failure.code is None:
                        raise Unknown(f"{what}: {failed.failure}") from failed.__cause__
                    raise Refused(what, failed.failure) from failed.__cause__
            await asyncio.sleep(seconds * random.uniform(0.7, 1.0))  # so that several controllers do not keep step

    def _call(self, kind: str, method: str, read: Callable[[Any], Answer], arguments: Mapping[str, Any]) -> Answer:
        from google.api_core.exceptions import GoogleAPICallError, RetryError
        from google.auth.exceptions import GoogleAuthError
        from google.protobuf.json_format import ParseError
        from requests.exceptions import RequestException

        client = self._client(kind)
        try:
            return read(_asked(getattr(client, method), self._timing.answer, arguments))
        except GoogleAPICallError as error:
            raise _Failed(_failure_of(error)) from error
        except GoogleAuthError as error:
            words = f"the credentials were refused: {_words(error)}"
            raise _Failed(Failure(None, "", words, final=not error.retryable)) from error
        except (ParseError, _AnotherForm) as error:
            raise _Failed(Failure(None, "", _NOT_THE_API)) from error
        except (RequestException, RetryError) as error:
            raise _Failed(Failure(None, "", f"no answer: {error}")) from error


_NOT_THE_API = "the answer is not one of the Compute API: another server is at its address, such as a proxy"


class _AnotherForm(Exception):
    """An answer that the client of Google could not read."""


def _asked(method: Callable[..., Any], timeout: float, arguments: Mapping[str, Any]) -> Any:
    """The answer. Of an answer that is no JSON of the API the client raises whatever its own code comes upon."""
    try:
        found = method(retry=None, timeout=timeout, **arguments)
    except (AttributeError, KeyError, TypeError) as error:
        raise _AnotherForm from error
    if method.__name__ == "get" and not found.name:  # each resource has one; without this, `{}` were one
        raise _AnotherForm
    return found


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _words(error: Exception) -> str:
    """Of an error of Google's credentials: its message, and that of the server in the JSON behind it."""
    what, *rest = map(str, error.args or (type(error).__name__,))
    for text in rest:
        with suppress(ValueError, LookupError, TypeError):
            return f"{what}: {json.loads(text)['error']['message']}"
    return what


def _failure_of(error: Any) -> Failure:
    """`error.errors`: what the API listed, each with a reason."""
    reasons = [str(one.get("reason", "")) for one in error.errors if isinstance(one, dict)]
    if error.code == 404 and not reasons:  # the API has one; what another server does not have says nothing
        return Failure(None, "", _NOT_THE_API)
    return Failure(int(error.code) if error.code is not None else None, next(iter(reasons), ""), str(error.message))
