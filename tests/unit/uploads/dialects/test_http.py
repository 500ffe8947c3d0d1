"""Responses that all dialects share: a status for every error, and the handler's response with fields of the
dialect."""

from __future__ import annotations

import json

import pytest

from changeover.uploads import (
    AlreadyComplete,
    BadRequest,
    Cancelled,
    ChecksumMismatch,
    DigestMismatch,
    Forbidden,
    Interrupted,
    NotFound,
    Rejected,
    Response,
    RetryLater,
    TooLarge,
    TooManyUploads,
    UploadError,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.core.errors import Unreadable
from changeover.uploads.dialects.http import error_response, problem, replayed

STATUS = [
    (BadRequest("bad"), 400),
    (WrongLength("shorter"), 400),
    (DigestMismatch("Content-Digest", "sha-256", bytes(32)), 400),
    (Rejected(415, "only pictures"), 415),
    (TooManyUploads(3), 429),
    (Forbidden("no"), 403),
    (NotFound(), 404),
    (Unreadable(), 410),
    (Cancelled("this upload was cancelled"), 404),
    (AlreadyComplete("complete"), 409),
    (TooLarge("this request", 10), 413),
    (RetryLater("no room", full=True), 507),
    (RetryLater("not now"), 503),
    (Interrupted(5), 503),
]
OF_THE_DIALECT = {UploadError, WrongOffset, ChecksumMismatch}
"""Errors whose status the dialects give, and the base class."""


@pytest.mark.parametrize(("error", "status"), STATUS, ids=lambda it: type(it).__name__)
def test_every_error_has_a_status_and_a_problem_document(error: UploadError, status: int) -> None:
    response = error_response(error)
    assert response.status == status
    assert ("Content-Type", "application/problem+json") in response.headers
    assert json.loads(response.body)["detail"] == str(error)
    assert (status == 503) == (("Retry-After", "1") in response.headers)


def test_no_error_is_left_out() -> None:
    def below(kind: type[UploadError]) -> set[type[UploadError]]:
        return {kind}.union(*(below(each) for each in kind.__subclasses__()))

    assert below(UploadError) - OF_THE_DIALECT == {type(error) for error, _ in STATUS}


def test_a_status_without_a_name_has_an_empty_title() -> None:
    assert json.loads(problem(499, "never").body)["title"] == ""


@pytest.mark.parametrize("name", ["Location", "location"])
def test_a_location_of_the_handler_replaces_that_of_the_dialect(name: str) -> None:
    response = replayed(Response(201, ((name, "/upload/1"),)), ("Location", "/files/1"), ("Upload-Offset", "5"))
    assert response.headers == ((name, "/upload/1"), ("Upload-Offset", "5"))
