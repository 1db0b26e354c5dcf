"""A lock on an open file, so that two processes do not write into one folder.

The system holds it, and releases it when its owner is gone, whatever ended that.  It is advisory:
others may read the file.
"""

from __future__ import annotations

import sys
from typing import BinaryIO

FAR = 1 << 30  # a byte beyond every log, as a locked byte cannot be read on Windows


if sys.platform == "win32":
    import msvcrt

    def locked(file: BinaryIO) -> bool:
        """Lock a file until it is closed; False where another process has locked it."""
        file.seek(FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def locked(file: BinaryIO) -> bool:
        """Lock a file until it is closed; False where another process has locked it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
