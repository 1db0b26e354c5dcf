"""Faults of the system, injected by strace into saving processes: nothing is lost.

Needs strace, which the tier `faults` says where it is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from saver import BROKEN, GO, REFUSED, SAVED

from tinygrad_attn import checkpoint

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parent.parent
CALL = re.compile(r"^(\w+)\((.*)\) += (\S+)", re.M)
MEMORY = {"mmap", "munmap", "mprotect", "brk", "madvise", "mremap", "futex"}
ENDS = {"exit_group", "exit"}


class Saver:
    """Saves in a child while strace interferes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.trace = folder, folder / "in" / "m", folder / "trace"
        self.path.parent.mkdir()
        self.faults = 0
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, ROOT / "tests" / "saver.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            bufsize=0,
        )
        self.step = 0
        self.save()

    def save(self, *options: str) -> tuple[int, str]:
        """The next step's checkpoint: the exit code, and what was said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{self.path} {self.step + 1}\n".encode())
        number = self.process.stdout.readline().decode().strip()
        command = ["strace", "-p", number, "-o", self.trace, *options]
        with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
            assert strace.stderr is not None
            assert b"attached" in (said := strace.stderr.readline()), said
            os.kill(int(number), GO)
            code, _, sentence = self.process.stdout.readline().decode().strip().partition(" ")
            strace.stderr.read()
        self.step = self.standing()
        return int(code), sentence

    def standing(self) -> int:
        """The step of the checkpoint that is there: the one before, or the new one."""
        if not self.path.exists():
            assert self.step == 0
            return 0
        found = checkpoint.load(self.path).step
        assert found in (self.step, self.step + 1)
        return found

    def calls(self) -> list[tuple[str, str, str]]:
        """(name, arguments, result) of every call between the beginning of the save and its end."""
        calls = CALL.findall(self.trace.read_text(errors="replace"))
        begin = next(n for n, call in enumerate(calls) if call[0] == "getppid")
        return [call for call in calls[begin + 1 :] if call[0] not in ENDS]

    def places(self) -> list[tuple[str, int]]:
        """(name, which of that name since strace came) of every call of a save."""
        assert self.save()[0] == SAVED
        calls = CALL.findall(self.trace.read_text(errors="replace"))
        seen: Counter[str] = Counter()
        begun, found = False, []
        for name, *_ in calls:
            seen[name] += 1
            if begun and name not in ENDS:
                found.append((name, seen[name]))
            begun = begun or name == "getppid"
        return found

    def fault(self, name: str, number: int, what: str) -> tuple[int, str]:
        """Save with a fault at a call; whether it took place is in the trace."""
        before = self.step
        code, sentence = self.save("-e", f"inject={name}:{what}:when={number}")
        text = self.trace.read_text(errors="replace")
        self.faults += "(INJECTED)" in text or "killed by SIGKILL" in text
        if code == REFUSED:
            untouched = "untouched" in sentence
            assert untouched == (self.step == before), sentence
        return code, sentence


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Saver]:
    assert shutil.which("strace"), "the tier `faults` needs strace: apt-get install strace"
    saver = Saver(tmp_path)
    yield saver
    assert saver.process.stdin is not None
    assert saver.process.stdout is not None
    saver.process.stdin.close()
    saver.process.wait(30)
    saver.process.stdout.close()


def test_the_order_that_makes_it_last(saver: Saver) -> None:
    """write, fsync of the file, reading back, rename, fsync of the folder."""
    assert saver.save()[0] == SAVED
    calls = saver.calls()
    opened = [c for c in calls if c[0] == "openat" and "O_CREAT" in c[1]]
    assert len(opened) == 1
    assert "O_EXCL" in opened[0][1]
    file = opened[0][2]
    folder = next(
        c[2] for c in reversed(calls) if c[0] == "openat" and f'"{saver.path.parent}"' in c[1]
    )

    def position(name: str, start: str, last: bool = False) -> int:
        found = [n for n, c in enumerate(calls) if c[0] == name and c[1].startswith(start)]
        return found[-1] if last else found[0]

    order = [
        calls.index(opened[0]), position("write", file, last=True), position("fsync", file),
        position("read", file, last=True), position("rename", '"'),
        position("fsync", folder, last=True),
    ]  # fmt: skip
    assert order == sorted(order)
    assert len(set(order)) == len(order)
    assert all(calls[n][2] != "-1" for n in order)
    assert next(c for c in calls if c[0] == "rename")[1].endswith(f', "{saver.path}"')


def test_a_kill_at_every_call(saver: Saver) -> None:
    """Before each: what was there is there, or what is new; what the dead leave is removed."""
    before = after = 0
    for name, number in saver.places():
        step = saver.step
        code, _ = saver.fault(name, number, "signal=KILL")
        assert code in (-9, SAVED)
        before, after = before + (saver.step == step), after + (saver.step != step)
    assert before > 20
    assert after > 1
    assert saver.faults > 40
    print(f"killed {saver.faults} times: {before} old, {after} new, 0 lost")
    assert saver.save()[0] == SAVED
    assert os.listdir(saver.path.parent) == ["m"]


ERRORS = ("EIO", "ENOSPC", "EINTR")


def test_an_error_at_every_call(saver: Saver) -> None:
    """The call fails and does nothing; the save says so in a sentence, or is whole."""
    outcomes: Counter[int] = Counter()
    for name, number in saver.places():
        if name in MEMORY:
            continue
        for error in ERRORS:
            code, sentence = saver.fault(name, number, f"error={error}")
            assert code in (SAVED, REFUSED), (name, number, error, sentence)
            outcomes[code] += 1
    print(f"{saver.faults} errors: {outcomes[REFUSED]} said, {outcomes[SAVED]} saved, 0 lost")
    assert saver.faults >= 200
    assert outcomes[REFUSED] > 20
    assert outcomes[BROKEN] == 0
    assert saver.save()[0] == SAVED
    assert os.listdir(saver.path.parent) == ["m"]


def test_a_full_disk_is_named(saver: Saver) -> None:
    places = [number for name, number in saver.places() if name == "write"]
    code, sentence = saver.fault("write", places[-1], "error=ENOSPC")
    assert code == REFUSED
    assert "No space left on device" in sentence
    assert "what was there is untouched" in sentence


def test_a_disk_that_lies_is_found_out(saver: Saver) -> None:
    """A write that says that it wrote, and did not."""
    written = [c for c in saver_calls(saver) if c[0] == "write"]
    places = [number for name, number in saver.places() if name == "write"]
    assert len(written) == len(places)
    for number, call in zip(places, written, strict=True):
        code, sentence = saver.fault("write", number, f"retval={call[2]}")
        assert code == REFUSED
        assert "does not read back the same" in sentence


def saver_calls(saver: Saver) -> list[tuple[str, str, str]]:
    """The calls of a save."""
    assert saver.save()[0] == SAVED
    return saver.calls()
