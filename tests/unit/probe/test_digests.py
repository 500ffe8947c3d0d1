from __future__ import annotations

import base64
import hashlib

import pytest

from changeover.probe.digests import matches

SHA256 = hashlib.sha256(b"x")
BASE64 = base64.b64encode(SHA256.digest()).decode()


@pytest.mark.parametrize(
    "claimed",
    [
        SHA256.hexdigest(),
        SHA256.hexdigest().upper(),
        f'"{SHA256.hexdigest()}"',
        BASE64,
        f"sha-256=:{BASE64}:",
        f"sha-512=:AAAA:, sha-256=:{BASE64}:",
        f"SHA-256={BASE64}",
    ],
)
def test_a_digest_is_recognised_in_every_usual_form(claimed: str) -> None:
    assert matches(claimed, SHA256.digest(), "sha256")


@pytest.mark.parametrize("claimed", ["", "sha-256=::", BASE64.swapcase(), hashlib.sha256(b"y").hexdigest(), "md5=AA=="])
def test_another_digest_is_none(claimed: str) -> None:
    assert not matches(claimed, SHA256.digest(), "sha256")
