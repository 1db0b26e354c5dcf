"""Files that are whole or not there, and bytes that can mean one thing only.

strict.py    JSON that can mean one thing only
header.py    the header of a safetensors file, read strictly
arrays.py    a safetensors file as arrays
lock.py      a lock on an open file
whole.py     writing a file so that the old one or the new one is there, never a part
"""

from .arrays import DTYPES, arrays_of, read
from .header import MAX_HEADER, Entry, Header, header_of
from .lock import locked
from .strict import FormatError, object_of, read_object
from .whole import UnconfirmedError, write_whole

__all__ = [
    "DTYPES",
    "MAX_HEADER",
    "Entry",
    "FormatError",
    "Header",
    "UnconfirmedError",
    "arrays_of",
    "header_of",
    "locked",
    "object_of",
    "read",
    "read_object",
    "write_whole",
]
