"""Whether a server can use a certificate with its key."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
import trustme

from changeover.kit.certificates import fault_of, sha1_of

CA = trustme.CA()
ONE, OTHER = CA.issue_cert("a.example"), CA.issue_cert("b.example")
CERTIFICATE = "".join(blob.bytes().decode() for blob in ONE.cert_chain_pems)
KEY, OTHER_KEY = ONE.private_key_pem.bytes().decode(), OTHER.private_key_pem.bytes().decode()
NO_PAIR = "there is no certificate in PEM with a key without a password"
LOCKED = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("pem", "fault"),
    [
        (CERTIFICATE + KEY, ""),
        (KEY + CERTIFICATE, ""),
        (CERTIFICATE + OTHER_KEY, "the key does not belong to the certificate"),
        (CERTIFICATE, NO_PAIR),
        (KEY, NO_PAIR),
        (CERTIFICATE[:200] + KEY, NO_PAIR),
        (CERTIFICATE + LOCKED, NO_PAIR),
        ("", NO_PAIR),
    ],
)
def test_a_certificate_is_used_with_the_key_that_belongs_to_it(pem: str, fault: str) -> None:
    assert fault_of(pem, time.time()) == fault


def test_a_certificate_is_not_used_after_its_end() -> None:
    ended = CA.issue_cert("a.example", not_after=datetime(2026, 3, 4, 5, 6, tzinfo=UTC))
    pem = "".join(blob.bytes().decode() for blob in (*ended.cert_chain_pems, ended.private_key_pem))
    assert fault_of(pem, datetime(2026, 3, 4, 5, 5, tzinfo=UTC).timestamp()) == ""
    after = fault_of(pem, datetime(2026, 3, 4, 5, 7, tzinfo=UTC).timestamp())
    assert after == "the certificate has expired on 2026-03-04 05:06 UTC"
    assert fault_of(pem) == ""


def test_the_fingerprint_is_the_one_of_the_first_certificate() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    expected = x509.load_pem_x509_certificate(CERTIFICATE.encode()).fingerprint(hashes.SHA1()).hex()
    assert sha1_of(KEY + CERTIFICATE + CA.cert_pem.bytes().decode()) == expected
