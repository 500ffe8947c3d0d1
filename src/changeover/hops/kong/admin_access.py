"""How the Admin APIs of one Kong are reached: certificates, and a token that no message contains.

The token is read from the environment at each request, so no file holds it, and a new one needs no restart. A server's
answer may repeat it (an error page that shows the request's headers): every text from there goes through `hide`.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changeover.kit import http
from changeover.kit.redact import SHOWN
from changeover.ports import Unknown

if TYPE_CHECKING:
    import httpx


@dataclass
class AdminAccess:
    """`ca`, `certificate` and `key` are PEM files; `token_env` names the variable whose value goes into `header`.

    `password_file` is that of a node of the chain: `user:password`, for basic authentication.
    """

    token_env: str = ""
    header: str = "Kong-Admin-Token"
    ca: str = ""
    certificate: str = ""
    key: str = ""
    timeout: float = http.TIMEOUT
    """Seconds."""
    password_file: Path | None = None
    _client: httpx.AsyncClient | None = field(default=None, repr=False)

    async def ask(self, method: str, url: str, *, json: Any = None) -> httpx.Response:
        """The response, with any status. Raises Unknown."""
        try:
            return await http.ask(self._connected(), method, url, headers=self.headers(), json=json)
        except http.NoResponse as error:
            raise Unknown(self.hide(str(error))) from None

    def hide(self, text: str) -> str:
        token = os.environ.get(self.token_env, "") if self.token_env else ""
        return text.replace(token, SHOWN) if token else text

    def headers(self) -> Mapping[str, str]:
        """Those that authorise a request. Raises Unknown."""
        if self.password_file is not None and self.password_file.exists():  # else an earlier version started the node
            return {"Authorization": f"Basic {b64encode(self.password_file.read_bytes()).decode()}"}
        if not self.token_env:
            return {}
        if not (token := os.environ.get(self.token_env, "")):
            raise Unknown(f"{self.token_env}, which must hold the token of the Admin API, is not set")
        if not token.isascii() or not token.isprintable():
            raise Unknown(f"{self.token_env} holds characters that no header can carry")
        return {self.header: token}

    def _connected(self) -> httpx.AsyncClient:
        """Made at the first request: without a certificate, `down` must still work."""
        if self._client is None:
            try:
                context = _context(self.ca, self.certificate, self.key)
            except OSError as error:  # ssl.SSLError is one
                where = ", ".join(file for file in (self.ca, self.certificate, self.key) if file)
                raise Unknown(f"the certificates of the Admin API ({where}) cannot be used: {error}") from error
            self._client = http.client(context, self.timeout)
        return self._client


@cache
def _context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    """Made once: reading everything that a system trusts takes longer than a request."""
    context = ssl.create_default_context(cafile=ca or None)
    if certificate:
        context.load_cert_chain(certificate, key or None)
    return context
