"""The limits that an application sets, and the checks of sizes against them."""

from __future__ import annotations

from dataclasses import dataclass

from changeover.uploads.core.errors import TooLarge


@dataclass(frozen=True)
class Limits:
    """What clients may send. None: no limit, unless a field says otherwise."""

    max_size: int | None = None
    """Bytes of one upload."""
    max_age: float = 86_400.0
    """Seconds from the creation of an upload to its last byte. Then it is collected, unless it is complete."""
    keep_done: float | None = None
    """Seconds for which an upload is kept after the handler has returned. None: for ever."""
    max_append: int | None = None
    """Bytes of one request."""
    rate: float | None = None
    """Bytes per second of one upload, over all its requests to this process. A faster client is slowed down."""
    max_unfinished: int | None = None
    """Incomplete uploads of one owner, over all instances."""
    max_metadata: int = 3072
    """Bytes of `Upload-Metadata` and `Upload-Concat` (tus) together. The response to HEAD repeats them, and nginx has
    4 KiB for its head."""
    max_form_fields: int = 100
    """Fields of a form (`multipart/form-data`) besides its file."""
    max_form_size: int = 65_536
    """Bytes of their names and values together."""
    segment: int | None = None
    """Bytes after which received bytes are committed at the latest. None: the default of the store."""

    def check_size(self, size: int | None) -> None:
        """Check the size of an upload; None: unknown. Raises TooLarge."""
        if self.max_size is not None and size is not None and size > self.max_size:
            raise TooLarge(f"an upload of {size} bytes", self.max_size)

    def check_request(self, size: int | None) -> None:
        """Check the size of the body of one request; None: unknown. Raises TooLarge."""
        self.check_size(size)
        if self.max_append is not None and size is not None and size > self.max_append:
            raise TooLarge(f"a request of {size} bytes", self.max_append)
