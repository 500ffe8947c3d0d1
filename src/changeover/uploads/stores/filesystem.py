"""What `FileStore` asks of a file system: atomic new names, synced folders, deletion.

Two calls give a file a new name only if no file has it: link(2), and renameat2(2) with RENAME_NOREPLACE where the file
system has no hard links (vfat, exFAT, some FUSE and network file systems). Refuses a file system that has neither:
creating the file with O_EXCL would show other processes a record that is written in part.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import secrets
import shutil
from pathlib import Path

_LOG = logging.getLogger(__name__)

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNSUPPORTED = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems return for a call that they do not have: EPERM for link(2), EINVAL for flags of renameat2(2)."""
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


def name_once(temporary: Path, path: Path) -> None:
    """Give a file its final name. Its temporary name may stay. Raises FileExistsError if another file has the name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        # NFS may have lost the response and retried: a second name of this file means that the link succeeded
        if temporary.stat().st_nlink < 2:
            raise
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        try:
            rename_noreplace(temporary, path)
        except OSError as second:
            if second.errno not in _UNSUPPORTED:
                raise
            reason = "the file system has neither hard links nor renameat2 with RENAME_NOREPLACE"
            raise OSError(errno.ENOTSUP, reason, str(path.parent)) from error


def rename_noreplace(source: Path, target: Path) -> None:
    """Rename a file unless the target exists. Raises OSError; ENOSYS if the C library lacks the call."""
    if (call := getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)) is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


class FileModes:
    """Creates files with a mode, and folders with the same and the right to enter them, whatever the umask is.

    Raises ValueError for a mode that its owner could not use, or that lets others write.
    """

    def __init__(self, mode: int) -> None:
        if mode & ~0o644 or mode & 0o600 != 0o600:
            raise ValueError(f"the mode of files must be one such as 0600, 0640 or 0644, not {mode:04o}")
        self._file = mode
        self._folder = mode | 0o100 | (mode & 0o044) >> 2

    def make_folder(self, folder: Path) -> None:
        """Make a folder; one that exists keeps its mode."""
        try:
            folder.mkdir(self._folder)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            folder.chmod(self._folder)

    def create_file(self, path: Path) -> int:
        """Create a file, and return its descriptor."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._file)
        try:
            if self._file != 0o600:  # nearly every umask leaves the owner's rights
                os.fchmod(descriptor, self._file)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def check_folder(folder: Path, *, durable: bool) -> None:
    """Try in a folder what a store does there. Raises OSError with the reason if the folder cannot hold uploads.

    A full file system is accepted: its uploads can still be read, handled and deleted.
    """
    temporary, path = folder / f".check-{secrets.token_hex(8)}", folder / f".check-{secrets.token_hex(8)}"
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        name_once(temporary, path)
        if durable:
            _check_sync(folder)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        _LOG.warning("%s: %s; uploads that exist are served, and new bytes are refused", folder, error.strerror)
    finally:
        for each in (temporary, path):
            forget(each)


def _check_sync(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        reason = "the file system cannot sync folders, so acknowledged bytes may be lost with the power; choose another"
        raise OSError(errno.ENOTSUP, f"{reason} or turn durability off", str(folder)) from error


def names(folder: Path) -> list[str]:
    """The names in a folder; none if it does not exist."""
    try:
        with os.scandir(folder) as found:
            return [entry.name for entry in found]
    except (FileNotFoundError, NotADirectoryError):
        return []


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that for its own name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def forget(path: Path) -> None:
    """Delete a file if that is possible."""
    with contextlib.suppress(OSError):
        path.unlink()


def remove(folder: Path) -> None:
    """Delete a folder with its content; other processes may do the same."""
    while True:
        try:
            return shutil.rmtree(folder)
        except FileNotFoundError:
            if not folder.exists():
                return None
