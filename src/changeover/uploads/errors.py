"""What a client is told when an upload cannot go on. Dialects turn these into their own status codes."""

from __future__ import annotations


class UploadError(Exception):
    """Something the client is to be told; the text says what."""


class NotFound(UploadError):
    """No upload has this id, or it belongs to somebody else: the two are not told apart."""


class Cancelled(UploadError):
    """It was cancelled, has expired, or was given up."""


class Forbidden(UploadError):
    """The authorisation hook said no."""


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


class BadRequest(UploadError):
    """The request makes no sense."""


class Interrupted(UploadError):
    """Another request for the same upload, or the end of this instance, broke in. What had arrived is kept."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"interrupted; the upload goes on at byte {offset}")
        self.offset = offset


class ClientGone(Exception):
    """The client hung up in the midst of a body. What had arrived is kept; there is nobody to be told."""


class TryLater(UploadError):
    """The store, or the application, cannot do it now. What was acknowledged still holds. `full`: out of room."""

    def __init__(self, what: str, *, full: bool = False) -> None:
        super().__init__(what)
        self.full = full
