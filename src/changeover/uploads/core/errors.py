"""Errors that end a request. Dialects translate them to status codes; their text goes to the client."""

from __future__ import annotations


class UploadError(Exception):
    """Base class. The text is for the client."""


class NotFound(UploadError):
    """No upload has this id, or it belongs to another owner. The response is the same for both."""

    def __init__(self, reason: str = "no such upload") -> None:
        super().__init__(reason)


class Unreadable(NotFound):
    """The record of the upload is damaged: its client has to begin again."""

    def __init__(self) -> None:
        super().__init__("this upload cannot be continued: its record is damaged; begin a new one")


class Cancelled(UploadError):
    """The upload was cancelled or has expired."""


class Forbidden(UploadError):
    """The `authorise` hook, the `validate` hook or the handler refuses the request: 403."""


class Rejected(UploadError):
    """The `validate` hook or the handler refuses an upload with a status of its own.

    Raises ValueError unless 400 <= status <= 499.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        """HTTP status of the response."""
        if status // 100 != 4:
            raise ValueError(f"an upload is rejected with a status between 400 and 499, not {status}")


class TooManyUploads(UploadError):
    """The owner has the maximum number of unfinished uploads."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} uploads are unfinished, which is the limit; finish or cancel one first")


class WrongOffset(UploadError):
    """The body does not start at the upload's offset."""

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(f"the upload continues at byte {expected}; this request starts at byte {provided}")
        self.expected = expected
        """Bytes that the upload has."""
        self.provided = provided
        """Byte at which the request starts."""


class AlreadyComplete(UploadError):
    """A request has bytes for an upload that is complete."""


class WrongLength(UploadError):
    """Two statements of the length differ, or the body has more or fewer bytes than announced."""


class TooLarge(UploadError):
    """The upload or the request exceeds a limit."""

    def __init__(self, subject: str, limit: int) -> None:
        super().__init__(f"{subject} exceeds the limit of {limit} bytes")
        self.limit = limit
        """Bytes."""


class ChecksumMismatch(UploadError):
    """The bytes do not match their checksum. None of them is kept."""


class DigestMismatch(ChecksumMismatch):
    """The bytes do not match a digest field of RFC 9530."""

    def __init__(self, field: str, algorithm: str, provided: bytes) -> None:
        super().__init__(f"the {algorithm} of the received bytes differs from {field}; no byte of them is kept")
        self.algorithm = algorithm
        """Name in RFC 9530, such as `sha-256`."""
        self.provided = provided
        """The digest in the request."""


class BadRequest(UploadError):
    """The request is malformed or contradicts itself."""

    def __init__(self, reason: str, type: str = "") -> None:
        super().__init__(reason)
        self.type = type
        """URI of the problem type (RFC 9457); empty where none is registered."""


class Interrupted(UploadError):
    """A newer request for the upload, or the shutdown of this instance, ended the request. Received bytes are kept."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"interrupted; the upload continues at byte {offset}")
        self.offset = offset
        """Bytes that the upload has."""


class ClientDisconnected(Exception):
    """The client disconnected before the end of its body. Received bytes are kept; no response is possible."""


class RetryLater(UploadError):
    """The store or the application fails for now. Acknowledged bytes are still there."""

    def __init__(self, reason: str, *, full: bool = False) -> None:
        super().__init__(reason)
        self.full = full
        """Whether the store has no room left."""
