"""A contestant's process, from the parent's side."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from .work import Array

ROOT = Path(__file__).resolve().parent.parent
THREADS = ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")  # …_NUM_THREADS
KERNELS = "TINYGRAD_ATTN_KERNELS"


class ContestantError(RuntimeError):
    """A contestant cannot do the work; the message is a sentence."""


class Contestant:
    """A worker process; see worker.py.

    Args:
        name: for messages and tables.
        make: the module whose `make` builds the work.
        options: of `make`.
        threads: how many every library may use.
        kernels: the kernel set of this library.
        limit: seconds that an answer may take.

    Raises:
        ContestantError: it cannot build its work; so do all methods when it fails.
    """

    def __init__(
        self,
        name: str,
        make: str,
        options: dict[str, Any],
        *,
        threads: int = 1,
        kernels: str | None = None,
        limit: float = 600.0,
    ) -> None:
        self.name, self.threads, self.limit = name, threads, limit
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed in `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
            env=environment(threads, kernels),
            start_new_session=True,  # so that helpers it starts are stopped with it
        )
        self.replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self.listen, daemon=True).start()
        try:
            self.build(make, options)
        except ContestantError:
            self.close()
            raise

    def listen(self) -> None:
        """Hand over every line that the process writes; an empty one when it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.replies.put(line)
        self.replies.put("")

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self.process.stdin.flush()
            line = self.replies.get(timeout=self.limit)
        except queue.Empty:
            self.stop()
            raise ContestantError(
                f"{self.name} gave no answer to '{do}' within {self.limit:g} s"
            ) from None
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            raise ContestantError(
                f"{self.name} ended with code {code} when asked to {do}{self.last_words()}"
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContestantError(f"{self.name} failed when asked to {do}: {reply['error']}")
        return reply

    def build(self, make: str, options: dict[str, Any]) -> None:
        """Build work in place of what there was; arguments as of the class."""
        self.ask("build", make=make, options=options, threads=self.threads)

    def last_words(self) -> str:
        """The last line that the process wrote about itself."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    def check(self) -> dict[str, Array]:
        """The numbers on which all must agree."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "numbers.npz"
            self.ask("check", to=str(path))
            with np.load(path) as numbers:
                return dict(numbers)

    def run(self, times: int) -> float:
        """Seconds for doing the work so many times."""
        return float(self.ask("run", times=times)["seconds"])

    def memory(self, forget: bool = False) -> dict[str, float]:
        """Peak and present memory in MiB; with `forget` the peak begins anew."""
        return self.ask("memory", forget=forget)

    def stop(self) -> None:
        """End the process, and those that it started."""
        if not hasattr(os, "killpg"):
            self.process.kill()
            return
        with suppress(ProcessLookupError):  # there is none left
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the process end; stop it if it does not."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        self.stop()
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def environment(threads: int, kernels: str | None) -> dict[str, str]:
    """The variables of a contestant's process."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    given |= {f"{name}_NUM_THREADS": str(threads) for name in THREADS}
    return given if kernels is None else {**given, KERNELS: kernels}
