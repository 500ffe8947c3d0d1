"""TLS to servers of a private certificate authority: a context that follows its files, and what went wrong in words.

Refuses public authorities: every host can get a certificate of theirs, and is no server of the chain.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_VERIFY = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed, and is not the one in `ca`",
    19: "its certificate is of an authority that `ca` does not have",
    20: "its certificate is of an authority that `ca` does not have",
    21: "its certificate is of an authority that `ca` does not have",
    23: "its certificate is revoked",
    62: "its certificate has another name",
    64: "its certificate has another name",
}
"""https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/: verify_code -> what it means."""
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
"""Reasons of OpenSSL where the first bytes are no record of TLS."""


class Fault(Enum):
    """What failed."""

    SERVER_CERTIFICATE = "the certificate of the server"
    CLOSED = "the server closes the connection, as one does that refuses the certificate of the client"
    NO_TLS = "the server speaks no TLS"
    OTHER = "another one"


@dataclass(frozen=True)
class TlsFiles:
    """PEM files. `ca`: the only authorities that are trusted. `certificate` and `key`: of the client, if any."""

    ca: str
    certificate: str | None = None
    key: str | None = None


class FollowingContext:
    """The context of these files as they are: renewed certificates need no restart."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._known: tuple[tuple[tuple[int, int], ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Raises ValueError, which names the file and the reason."""
        files = self._files
        stamps = tuple(_stamp(file) for file in (files.ca, files.certificate, files.key) if file)
        if self._known is None or self._known[0] != stamps:
            self._known = stamps, _context(files)
        return self._known[1]


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = Path(file).stat()
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_ino


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(files.ca)
    except OSError as error:  # ssl.SSLError is one
        raise ValueError(f"{files.ca} is no file of certificates in PEM: {error}") from error
    if files.certificate:
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (OSError, ValueError) as error:
            pair = f"{files.certificate} and {files.key}" if files.key else files.certificate
            raise ValueError(f"{pair} cannot be used as a client certificate: {error}") from error
    return context


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal."""
    raise ValueError("the key has a password")


def fault(error: BaseException) -> tuple[Fault, str] | None:
    """What failed in a connection over TLS, and what it means; None: nothing that this knows of."""
    for one in _causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return Fault.SERVER_CERTIFICATE, _VERIFY.get(one.verify_code, f"its certificate: {one.verify_message}")
        if isinstance(one, ssl.SSLWantReadError):
            return Fault.NO_TLS, "it did not answer the handshake of TLS"
        if isinstance(one, ssl.SSLEOFError | ConnectionResetError):
            return Fault.CLOSED, "it closed the connection"
        if isinstance(one, ssl.SSLError):
            reason = one.reason or str(one)
            if reason in _PLAIN:
                return Fault.NO_TLS, "it does not speak TLS"
            return Fault.OTHER, f"TLS: {reason}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
