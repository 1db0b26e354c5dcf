"""A lock on an open file, so that two processes do not write the same.

The system holds it, and releases it when its owner is gone, whatever ended that.  It is advisory:
others may read the file.
"""

from __future__ import annotations

import errno
import os
import sys

if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30  # a byte beyond what others read, as a locked one cannot be read on Windows

    def locked(handle: int) -> bool:
        """Lock a file until it is closed; False where another process has locked it.

        Raises:
            OSError: it cannot be locked by anybody.
        """
        place = os.lseek(handle, 0, os.SEEK_CUR)
        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLK):
                return False
            raise
        finally:
            os.lseek(handle, place, os.SEEK_SET)
        return True

else:
    import fcntl

    def locked(handle: int) -> bool:
        """Lock a file until it is closed; False where another process has locked it.

        Raises:
            OSError: it cannot be locked by anybody: some network file systems have no locks.
        """
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
