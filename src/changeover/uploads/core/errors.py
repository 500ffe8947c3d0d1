"""What a client is told when an upload cannot go on. Dialects turn these into their own status codes."""

from __future__ import annotations


class UploadError(Exception):
    """Something the client is to be told; the text says what."""


class NotFound(UploadError):
    """No upload has this id, or it belongs to somebody else: the two are not told apart."""


class Cancelled(UploadError):
    """It was cancelled, has expired, or was given up."""


class Forbidden(UploadError):
    """The authorisation hook, or the one that validates, said no."""


class Rejected(UploadError):
    """The hook that validates said no, with a status between 400 and 499 of its own. Raises ValueError on others."""

    def __init__(self, status: int, what: str) -> None:
        super().__init__(what)
        self.status = status
        if status // 100 != 4:
            raise ValueError(f"an upload is refused with a status between 400 and 499, not {status}")


class TooManyUploads(UploadError):
    """The owner has as many unfinished uploads as are allowed."""

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} uploads are unfinished, and no more are allowed; finish or cancel one first")


class WrongOffset(UploadError):
    """The bytes do not continue where the upload ends."""

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(f"the upload goes on at byte {expected}; these begin at byte {provided}")
        self.expected = expected
        self.provided = provided


class AlreadyComplete(UploadError):
    """More bytes for an upload that is complete."""


class WrongLength(UploadError):
    """Two statements of the length contradict each other, or there are fewer or more bytes than were announced."""


class TooLarge(UploadError):
    """More than is allowed. `limit` in bytes."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what}: at most {limit} bytes are allowed")
        self.limit = limit


class ChecksumMismatch(UploadError):
    """The bytes are not what their checksum says. None of them was kept."""


class DigestMismatch(ChecksumMismatch):
    """They are not what the field of RFC 9530 says."""

    def __init__(self, field: str, algorithm: str, provided: bytes) -> None:
        super().__init__(f"the {algorithm} of the bytes that came is not what {field} says; none of them was kept")
        self.algorithm = algorithm
        self.provided = provided


class BadRequest(UploadError):
    """The request makes no sense. `type`: of the problem, where there is one for it."""

    def __init__(self, what: str, type: str = "") -> None:
        super().__init__(what)
        self.type = type


class Interrupted(UploadError):
    """Another request for the same upload, or the end of this instance, broke in. What had arrived is kept."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"interrupted; the upload goes on at byte {offset}")
        self.offset = offset


class ClientDisconnected(Exception):
    """The client hung up in the midst of a body. What had arrived is kept; there is nobody to be told."""


class RetryLater(UploadError):
    """The store, or the application, cannot do it now. What was acknowledged still holds. `full`: out of room."""

    def __init__(self, what: str, *, full: bool = False) -> None:
        super().__init__(what)
        self.full = full
