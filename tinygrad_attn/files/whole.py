"""Writing a file so that, whatever happens, the old one or the new one is there, never a part.

    draft        a new file in the same folder, locked while its writer lives
    write        all of it, forced to the disk
    read back    and compare
    rename       the draft over the file, in one step
    the folder   forced to the disk, so that the new name lasts

A full disk, an error or a kill before the rename leaves the old file as it was; the draft of a dead
writer is removed by the next one who writes into that folder.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .lock import locked

DRAFT = ".tinygrad-attn-{}.tmp"
IS_DRAFT = re.compile(r"\.tinygrad-attn-[0-9a-f]{16}\.tmp")
CHUNK = 1 << 20
CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}
Part = bytes | bytearray | memoryview


class UnconfirmedError(OSError):
    """The new file is in its place, but the disk has not confirmed its name."""


def write_whole(path: str | os.PathLike[str], parts: Sequence[Part]) -> None:
    """Put a file with these bytes at `path`, whole, or leave what was there.

    A new file gets the permissions that open() gives, a replaced one those of the old, but its
    owner is who writes, and other hard links keep the old content; where `path` is a symbolic
    link, its target is replaced.

    Raises:
        OSError: it cannot be written; nothing has changed.
        UnconfirmedError: it has been, but may be gone after a loss of power.
    """
    place = Path(os.path.realpath(path))
    old = standing(place)
    with suppress(OSError):
        remove_stale(place.parent)
    handle, draft = begun(place.parent)
    try:
        if old is not None:
            os.chmod(draft, stat.S_IMODE(old.st_mode) & 0o777)
        for part in parts:
            write_all(handle, part)
        os.fsync(handle)
        check_written(handle, parts)
        if os.name == "nt":  # where an open file cannot be renamed
            os.close(handle)
            handle = -1
        os.replace(draft, place)
    finally:
        with suppress(OSError):  # all of it is on the disk, or given up
            os.close(handle)
        with suppress(OSError):  # it is gone where it was renamed
            os.unlink(draft)
    sync_folder(place.parent)


def standing(place: Path) -> os.stat_result | None:
    """What stands at a place; None where nothing does."""
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(place))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "Not a file, but a pipe or a device", str(place))
    return found


# ── drafts ───────────────────────────────────────────────────────────────────────────────────────
def begun(folder: Path) -> tuple[int, Path]:
    """A new draft, open and locked."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        draft = folder / DRAFT.format(secrets.token_hex(8))
        handle, kept = os.open(draft, flags, 0o666), False  # less the umask
        try:
            kept = locked_if_can_be(handle) and os.path.lexists(draft)
        finally:
            if not kept:  # another writer took it for stale before it was locked; or interrupted
                os.close(handle)
        if kept:
            return handle, draft


def remove_stale(folder: Path) -> None:
    """Remove the drafts of writers that have died: those that nobody holds a lock on."""
    for name in os.listdir(folder):
        if not IS_DRAFT.fullmatch(name):
            continue
        with suppress(OSError):
            handle = os.open(folder / name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
            try:
                if locked(handle):
                    os.unlink(folder / name)
            finally:
                os.close(handle)


def locked_if_can_be(handle: int) -> bool:
    """Lock a draft; False where another has it.  Without locks nobody takes it for stale."""
    try:
        return locked(handle)
    except OSError:
        return True


# ── bytes ────────────────────────────────────────────────────────────────────────────────────────
def write_all(handle: int, part: Part) -> None:
    """Write every byte, in as many calls as it takes."""
    left = memoryview(part).cast("B")
    while left:
        written = os.write(handle, left)
        if not written:
            raise OSError(errno.EIO, "Nothing could be written")
        left = left[written:]


def check_written(handle: int, parts: Iterable[Part]) -> None:
    """Read back what was written, from the disk where the system lets us, and compare."""
    with suppress(OSError, AttributeError):
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # not from memory
    os.lseek(handle, 0, os.SEEK_SET)
    for part in parts:
        left = memoryview(part).cast("B")
        while left:
            found = os.read(handle, min(len(left), CHUNK))
            if not found or left[: len(found)] != found:
                raise OSError(errno.EIO, "What was written does not read back the same")
            left = left[len(found) :]
    if os.read(handle, 1):
        raise OSError(errno.EIO, "What was written does not read back the same")


def sync_folder(folder: Path) -> None:
    """Force the folder's names to the disk, on systems that can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise UnconfirmedError(error.errno, error.strerror, str(folder)) from error
