"""Which fields go with the creation of an upload, and which with its segments."""

from __future__ import annotations

import pytest

from changeover.http1.head import Field
from changeover.relay.paths.fields import of_creation, of_segments
from changeover.relay.paths.request import RequestRefused

HOST = (b"Host", b"x")
SHA = b"sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"
OTHER = b"sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"
MD5 = b"HUXZLQLMuI/KZ5KDcJPcOA=="


@pytest.mark.parametrize(
    ("fields", "repr_digest"),
    [
        ([(b"Content-Digest", SHA)], SHA),
        ([(b"content-digest", SHA), (b"Content-Digest", b"crc=:AAA=:")], SHA + b", crc=:AAA=:"),
        ([(b"Repr-Digest", SHA)], SHA),
        ([(b"Repr-Digest", SHA), (b"Content-Digest", SHA)], SHA + b", " + SHA),
        ([(b"Repr-Digest", b"nonsense ("), (b"Content-Digest", SHA)], b"nonsense (, " + SHA),
        ([(b"Content-MD5", MD5)], b"md5=:" + MD5 + b":"),
        ([(b"Content-MD5", b"nonsense")], None),
        ([(b"Digest", b"SHA-256=AAA=, MD5=" + MD5 + b",UNIXsum=30637")], b"sha-256=:AAA=:, md5=:" + MD5 + b":"),
        ([(b"Digest", b"crc32c=AAA=")], None),
        ([], None),
    ],
)
def test_a_digest_of_the_body_is_the_digest_of_the_upload(fields: list[Field], repr_digest: bytes | None) -> None:
    expected = [HOST] if repr_digest is None else [HOST, (b"Repr-Digest", repr_digest)]
    assert of_creation([HOST, *fields]) == expected


def test_digests_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RequestRefused, match="different digests of sha-256"):
        of_creation([HOST, (b"Content-Digest", SHA), (b"Repr-Digest", OTHER)])


@pytest.mark.parametrize(
    "name",
    [
        *(b"Content-Type", b"Content-Encoding", b"Content-Language", b"Content-Location", b"Content-Disposition"),
        *(b"If-None-Match", b"If-Match", b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range", b"Range"),
        *(b"Last-Modified", b"Expires", b"Idempotency-Key", b"X-HTTP-Method-Override", b"Authorization"),
    ],
)
def test_a_field_of_the_whole_upload_goes_with_the_creation_alone(name: bytes) -> None:
    assert of_creation([HOST, (name, b"a")]) == [HOST, (name, b"a")]
    assert of_segments([HOST, (name, b"a")], authorised=True) == [HOST]


@pytest.mark.parametrize("name", [b"Content-Digest", b"Repr-Digest", b"Content-MD5", b"Digest"])
def test_no_segment_has_the_digest_of_the_whole(name: bytes) -> None:
    assert of_segments([HOST, (name, SHA)], authorised=False) == [HOST]


@pytest.mark.parametrize("name", [b"Cookie", b"X-Request-Id", b"traceparent", b"Accept", b"Via", b"X-Forwarded-For"])
def test_other_fields_go_with_every_request(name: bytes) -> None:
    assert of_segments([HOST, (name, b"a")], authorised=True) == [HOST, (name, b"a")]


@pytest.mark.parametrize("name", [b"authorization", b"DPoP", b"Signature", b"Signature-Input", b"X-API-Key"])
def test_credentials_go_with_the_creation_and_with_segments_only_without_a_capability(name: bytes) -> None:
    assert (name, b"a") in of_creation([HOST, (name, b"a")])
    assert of_segments([HOST, (name, b"a")], authorised=False) == [HOST, (name, b"a")]
    assert of_segments([HOST, (name, b"a")], authorised=True) == [HOST]
