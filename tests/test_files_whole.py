"""Writing whole files: permissions, links, drafts of the dead and the living, faults."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tinygrad_attn.files import UnconfirmedError, write_whole
from tinygrad_attn.files import whole as module

OLD, NEW = b"old" * 5000, [b"new", b"", memoryview(b"er" * 3000)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An old file, alone in its folder."""
    path = tmp_path / "in" / "file"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def content(parts: list[Any]) -> bytes:
    return b"".join(bytes(part) for part in parts)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ── what stays as it is ──────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o027])
def test_a_new_file_has_the_permissions_that_open_gives(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", NEW)
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == mode(tmp_path / "plain") == 0o666 & ~mask


@pytest.mark.parametrize("given", [0o600, 0o640, 0o664, 0o444])
def test_a_replaced_file_keeps_its_permissions(place: Path, given: int) -> None:
    place.chmod(given)
    write_whole(place, NEW)
    assert place.read_bytes() == content(NEW)
    assert mode(place) == given


def test_links_stay_links(place: Path) -> None:
    (place.parent / "one").symlink_to("file")
    (place.parent / "two").symlink_to(place.parent / "one")
    (place.parent / "ahead").symlink_to("nothing yet")
    write_whole(place.parent / "two", NEW)
    write_whole(place.parent / "ahead", [b"x"])
    assert place.read_bytes() == content(NEW)
    assert (place.parent / "nothing yet").read_bytes() == b"x"
    assert all((place.parent / name).is_symlink() for name in ("one", "two", "ahead"))


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, number in (
        ("folder", errno.EISDIR), ("pipe", errno.EINVAL), ("loop", errno.ELOOP),
        ("no/file", errno.ENOENT), ("x" * 300, errno.ENAMETOOLONG),
    ):  # fmt: skip
        with pytest.raises(OSError, match=r".") as caught:
            write_whole(tmp_path / name, NEW)
        assert caught.value.errno == number, name
    assert sorted(os.listdir(tmp_path)) == ["folder", "loop", "pipe"]


# ── drafts ───────────────────────────────────────────────────────────────────────────────────────
DIES = """
import os, sys
from pathlib import Path
from tinygrad_attn.files.whole import begun
handle, draft = begun(Path(sys.argv[1]))
os.write(handle, b"half")
print(draft.name, flush=True)
sys.stdin.read()
os.kill(os.getpid(), 9)
"""


def test_drafts_of_the_dead_are_removed_and_of_the_living_are_not(place: Path) -> None:
    command = [sys.executable, "-c", DIES, place.parent]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as writer:
        assert writer.stdout is not None
        draft = writer.stdout.readline().strip()
        write_whole(place, NEW)
        assert sorted(os.listdir(place.parent)) == sorted([draft, "file"])
        writer.communicate()
    assert (place.parent / draft).read_bytes() == b"half"
    write_whole(place, NEW)
    assert os.listdir(place.parent) == ["file"]


def test_only_drafts_are_removed(place: Path) -> None:
    names = [
        ".tinygrad-attn-.tmp", ".tinygrad-attn-0123456789abcdeg.tmp", "a.tmp",
        ".tinygrad-attn-0123456789abcdef.tmp.safe", "tinygrad-attn-0123456789abcdef.tmp",
    ]  # fmt: skip
    for name in names:
        (place.parent / name).touch()
    (place.parent / ".tinygrad-attn-0123456789abcdef.tmp").symlink_to("file")
    (place.parent / ".tinygrad-attn-0123456789abcde0.tmp").mkdir()
    (place.parent / ".tinygrad-attn-0123456789abcde1.tmp").touch()
    write_whole(place, NEW)
    assert not (place.parent / ".tinygrad-attn-0123456789abcde1.tmp").exists()
    assert len(os.listdir(place.parent)) == len(names) + 3


def many_writes(path: str, letter: int) -> None:
    for _ in range(40):
        write_whole(path, [bytes([letter]) * 7000])


def test_writers_at_the_same_time_do_not_disturb_each_other(place: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=many_writes, args=(str(place), n)) for n in b"abc"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        found = place.read_bytes()
        seen.add(found[:1])
        assert found == OLD or (len(found) == 7000 and len(set(found)) == 1)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert os.listdir(place.parent) == ["file"]
    assert seen & {b"a", b"b", b"c"}


def test_a_draft_that_another_took_for_stale_is_begun_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another writer may look at the draft between its making and its lock."""
    taken, locked = [], module.locked

    def late(handle: int) -> bool:
        if not taken:
            taken.extend(place.parent.glob(".tinygrad-attn-*"))
            taken[0].unlink()
        return locked(handle)

    monkeypatch.setattr(module, "locked", late)
    write_whole(place, NEW)
    assert place.read_bytes() == content(NEW)
    assert taken


def test_a_draft_that_another_has_locked_is_left_to_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is about to remove the draft, which is still there."""
    answers, locked = iter([False]), module.locked
    monkeypatch.setattr(module, "locked", lambda handle: next(answers, True) and locked(handle))
    write_whole(place, NEW)
    assert place.read_bytes() == content(NEW)
    assert len(list(place.parent.glob(".tinygrad-attn-*"))) == 1


# ── faults ───────────────────────────────────────────────────────────────────────────────────────
CALLS = ("open", "write", "read", "fsync", "replace", "lstat", "listdir", "chmod", "lseek", "close",
         "unlink", "posix_fadvise")  # fmt: skip
FAULTS = [
    *(OSError(number, os.strerror(number)) for number in
      (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOMEM)),
    MemoryError(), KeyboardInterrupt(),
]  # fmt: skip


@contextmanager
def failing(name: str, number: int, fault: BaseException) -> Iterator[list[int]]:
    """The call of this number raises; how many there were.  A failing close closes all the same."""
    real, count = getattr(os, name), [0]

    def call(*args: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == number and name == "close":
            real(*args)
        if count[0] == number:
            raise fault
        return real(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, call)
        yield count


def test_whatever_fails_old_or_new_is_there(place: Path) -> None:
    faults = lost = said = 0
    for name in CALLS:
        for fault in FAULTS:
            number, happened = 0, True
            while happened:
                number += 1
                place.write_bytes(OLD)
                raised: BaseException | None = None
                with failing(name, number, fault) as count:
                    try:
                        write_whole(place, NEW)
                    except BaseException as error:
                        raised = error
                happened = count[0] >= number
                faults += happened
                found = place.read_bytes()
                lost += found not in (OLD, content(NEW))
                said += raised is not None
                assert raised is None or type(raised) in (type(fault), UnconfirmedError)
                assert raised is not None or found == content(NEW)
                if isinstance(raised, UnconfirmedError):
                    assert found == content(NEW)
                elif isinstance(raised, OSError):
                    assert found == OLD
    print(f"{faults} faults: {said} said, {lost} lost")
    assert faults >= 200
    assert said > 100
    assert lost == 0
    write_whole(place, NEW)
    assert os.listdir(place.parent) == ["file"]


def test_a_file_larger_than_the_limit(place: Path) -> None:
    """The system writes a part of it, and then refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (0, 1, 2, 3, 5, 1000, 6000, 6002):
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                write_whole(place, NEW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert place.read_bytes() == OLD
        assert os.listdir(place.parent) == ["file"]


def test_short_writes_and_reads_are_gone_on_with(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read = os.write, os.read
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:997]))
    monkeypatch.setattr(os, "read", lambda handle, size: read(handle, min(size, 991)))
    write_whole(place, NEW)
    assert place.read_bytes() == content(NEW)


@pytest.mark.parametrize("lie", [len, lambda data: max(len(data) - 1, 1)])
def test_a_disk_that_lies_is_found_out(
    place: Path, monkeypatch: pytest.MonkeyPatch, lie: Any
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: (write(handle, data[:2]), lie(data))[1])
    with pytest.raises(OSError, match="does not read back the same"):
        write_whole(place, [b"something"])
    assert place.read_bytes() == OLD


def test_a_disk_that_writes_nothing_is_not_waited_for(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda handle, data: 0)
    with pytest.raises(OSError, match="Nothing could be written"):
        write_whole(place, NEW)
    assert place.read_bytes() == OLD


def test_more_than_was_written_is_found_out(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data) + b"x") - 1)
    with pytest.raises(OSError, match="does not read back the same"):
        write_whole(place, [b"something"])


def test_a_folder_that_cannot_be_forced_to_the_disk(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems cannot, and say so; an error of the disk is another thing."""
    fsync = os.fsync

    def failing_with(number: int) -> Any:
        def call(handle: int) -> None:
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(handle)

        return call

    monkeypatch.setattr(os, "fsync", failing_with(errno.EINVAL))
    write_whole(place, NEW)
    monkeypatch.setattr(os, "fsync", failing_with(errno.EIO))
    with pytest.raises(UnconfirmedError, match="Input/output error"):
        write_whole(place, [b"newest"])
    assert place.read_bytes() == b"newest"


def test_without_locks_drafts_stay(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(handle: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module, "locked", none)
    (place.parent / ".tinygrad-attn-0123456789abcde1.tmp").touch()
    write_whole(place, NEW)
    assert len(os.listdir(place.parent)) == 2
