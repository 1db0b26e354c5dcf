"""A process whose children save checkpoints while something interferes.

Reads "PATH STEP" a line.  For each it forks, writes the child's number, and waits for it; the child
begins to save at the signal GO.  So what interferes has time to attach, and Python, NumPy and
the package are loaded once only.  Writes "CODE SENTENCE" when the child has ended: its exit code,
negative for a signal, and what the error said.
"""

from __future__ import annotations

import ctypes
import os
import signal
import warnings
from tempfile import TemporaryDirectory

import numpy as np

from tinygrad_attn import checkpoint, optim
from tinygrad_attn.models import GPT, GPTConfig

GO = signal.SIGUSR1
SAVED, REFUSED, BROKEN = 0, 3, 4
CONFIG = GPTConfig(vocab_size=7, max_length=5, num_layers=1, num_heads=2, d_model=6)


def trained(step: int) -> tuple[GPT, optim.AdamW]:
    """Another model for each step."""
    model = GPT(CONFIG, rng=np.random.default_rng(step))
    optimizer = optim.AdamW(model.parameters())
    model.loss([[1, 2, 3]], [[2, 3, 4]]).backward()
    optimizer.step()
    return model, optimizer


def save(path: str, step: int, told: int) -> int:
    """Save; the exit code."""
    model, optimizer = trained(step)
    signal.sigwait({GO})  # no read, as those of the save are counted
    os.getppid()  # here it begins, as a trace shows
    try:
        checkpoint.save(path, model=model, optimizer=optimizer, step=step)
    except checkpoint.CheckpointError as error:
        os.write(told, str(error).encode())
        return REFUSED
    except BaseException as error:
        os.write(told, repr(error).encode())
        return BROKEN
    return SAVED


def child(path: str, step: int) -> tuple[int, str]:
    """Save in a child; how it ended, and what it said."""
    heard, told = os.pipe()
    number = os.fork()
    if number == 0:
        if hasattr(libc := ctypes.CDLL(None), "prctl"):
            libc.prctl(0x59616D61, -1)  # PR_SET_PTRACER: anybody may trace it
        os._exit(save(path, step, told))
    os.close(told)
    print(number, flush=True)
    _, status = os.waitpid(number, 0)
    with open(heard, errors="replace") as sentence:
        return os.waitstatus_to_exitcode(status), sentence.read()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    signal.pthread_sigmask(signal.SIG_BLOCK, {GO})
    with TemporaryDirectory() as folder:  # so that children import nothing
        warm, _ = trained(0)
        checkpoint.load(checkpoint.save(f"{folder}/warm", model=warm))
    for line in iter(lambda: os.read(0, 4096), b""):
        path, step = line.decode().rsplit(" ", 1)
        print(*child(path, int(step)), flush=True)
