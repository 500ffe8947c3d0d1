"""Authorises control calls: by the token, or by a client certificate of an authority that the agent trusts.

The token is read at each call, so that a new one needs no restart. Refuses to start without either: a lame duck takes
a machine out of service.
"""

from __future__ import annotations

import hmac
import os
import ssl
from pathlib import Path

from changeover.agent.config import AgentConfig

SHORTEST = 16
"""Characters of a token that is not guessed: 64 bits, written in hexadecimal."""
_SCHEME = b"bearer "


class Access:
    """Raises ValueError where nothing that authorises is configured, or the token cannot be read."""

    def __init__(self, config: AgentConfig) -> None:
        self._env = config.token_env
        self._file = config.token_file
        self._by_certificate = bool(config.client_ca)
        if not (self._env or self._file or self._by_certificate):
            raise ValueError(
                "control calls need a token or a certificate: give token_file, token_env, or tls with client_ca"
            )
        if self._env or self._file:
            self._token()

    def allows(self, authorization: bytes, certificate: object) -> bool:
        """`authorization`: the field of the request; `certificate`: of the client, verified. Raises ValueError."""
        if self._by_certificate and certificate:
            return True
        if not (self._env or self._file) or authorization[: len(_SCHEME)].lower() != _SCHEME:
            return False
        return hmac.compare_digest(authorization[len(_SCHEME) :].strip(), self._token())

    def _token(self) -> bytes:
        if self._file:
            source = f"token_file {self._file}"
            try:
                token = Path(self._file).read_bytes().strip()
            except OSError as error:
                raise ValueError(f"{source} cannot be read: {error.strerror}") from error
        else:
            source = f"token_env {self._env}"
            token = os.environ.get(self._env, "").strip().encode()
        if len(token) < SHORTEST:
            raise ValueError(f"{source} holds {len(token)} characters; a token has at least {SHORTEST}")
        return token


def tls(config: AgentConfig) -> ssl.SSLContext | None:
    """For the listener; None: plain HTTP. Health checks need no certificate. Raises ValueError."""
    if not config.certificate:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(config.certificate, config.key or None)
        if config.client_ca:
            context.load_verify_locations(config.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(file for file in (config.certificate, config.key, config.client_ca) if file)
        raise ValueError(f"tls: {files} cannot be used: {error}") from error
    return context
