"""Whether a server can use a certificate with its key. Refuses to keep either, or to write them anywhere."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime


def fault_of(pem: str, at: float | None = None) -> str:
    """Why no server can use them, as OpenSSL reads them; empty: it can.

    `pem`: the certificate, its chain and its key. `at`: seconds since 1970; an end before that is a fault, too.
    """
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "w") as file:
        file.write(pem)
        file.flush()
        try:
            # Without a password for keys: OpenSSL would ask for it at the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                f"/proc/self/fd/{file.fileno()}", password=lambda: ""
            )
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                return "the key does not belong to the certificate"
            return "there is no certificate in PEM with a key without a password"
    if at is None:
        return ""
    end = end_of(pem)
    return f"the certificate has expired on {datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC" if end < at else ""


def end_of(pem: str) -> float:
    """When the first certificate expires, in seconds since 1970. Raises ValueError where there is none."""
    from cryptography import x509  # here: it is large, and a certificate is read once in weeks

    return x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc.timestamp()


def sha1_of(pem: str) -> str:
    """The fingerprint of the first certificate, in hex. `pem` must hold one."""
    import hashlib

    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = begin + pem.split(begin, 1)[1].split(end, 1)[0] + end
    return hashlib.sha1(ssl.PEM_cert_to_DER_cert(first), usedforsecurity=False).hexdigest()
