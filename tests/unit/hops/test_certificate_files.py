"""A certificate on the disk while another program renews it."""

from __future__ import annotations

import time
from pathlib import Path

import trustme

from changeover.hops.certificate_files import SETTLED, CertificateFiles

CA = trustme.CA()
NOW = time.time()


def write(certificate: Path, key: Path) -> str:
    made = CA.issue_cert("a.example")
    text, private = (
        b"".join(blob.bytes() for blob in blobs).decode() for blobs in (made.cert_chain_pems, [made.private_key_pem])
    )
    certificate.write_text(text, encoding="utf-8")
    key.write_text(private, encoding="utf-8")
    return text.strip() + "\n" + private.strip() + "\n"


def test_the_two_files_of_a_renewal_need_not_be_written_at_once(tmp_path: Path) -> None:
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    files, seen = (certificate, key), CertificateFiles()
    old = write(certificate, key)
    assert seen.usable(files, NOW) == (old, "")
    before = key.read_text()
    new = write(certificate, key)
    after = key.read_text()
    key.write_text(before)
    assert seen.usable(files, NOW + 1) == ("", "")
    assert seen.usable(files, NOW + 1 + SETTLED / 2) == ("", "")
    key.write_text(after)
    assert seen.usable(files, NOW + 1 + SETTLED) == (new, "")


def test_files_that_stay_unusable_are_reported_once(tmp_path: Path) -> None:
    certificate, key = tmp_path / "a.pem", tmp_path / "a.key"
    files, seen = (certificate, key), CertificateFiles()
    write(certificate, key)
    key.unlink()
    assert seen.usable(files, NOW) == ("", "")
    said = [seen.usable(files, NOW + SETTLED + n) for n in range(3)]
    assert said[0][1].startswith(
        f"the renewed certificate {certificate} is not served: {key} cannot be read: No such file or directory. The "
        "earlier one goes on."
    )
    assert said[1:] == [("", "")] * 2
    write(certificate, key)
    key.write_bytes(b"\xff\xfe")
    seen.usable(files, NOW + 10)
    assert "it is not text in PEM" in seen.usable(files, NOW + 10 + SETTLED)[1]
