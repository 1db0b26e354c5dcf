"""The process of one contestant: it builds its work, then does what it is asked, one order a line.

    order                                                   reply
    {"do": "build", "make": module, "options": {…}}         {}
    {"do": "check", "to": file.npz}                         {}, the numbers in the file
    {"do": "run", "times": n}                               {"seconds": s}
    {"do": "memory", "forget": whether to begin anew}       {"peak": MiB, "resident": MiB}

Each contestant has a process of its own: threads of one library that wait by spinning do not take
the processor from another, and the peak of memory is that of one library alone.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from . import memory

TRACED = 3  # training steps whose losses are compared


def main() -> None:
    """Serve until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints goes where errors go
    work: Any = None
    for line in sys.stdin:
        order = json.loads(line)
        try:
            if order["do"] == "build":
                take_cores(order["threads"])
                work = import_module(order["make"]).make(**order["options"])
                reply: dict[str, Any] = {}
            else:
                reply = ORDERS[order["do"]](work, order)
        except Exception as error:
            say(replies, {"error": f"{type(error).__name__}: {error}".splitlines()[0]})
            raise
        say(replies, reply)


def say(replies: TextIO, reply: dict[str, Any]) -> None:
    """One line to the parent."""
    print(json.dumps(reply), file=replies, flush=True)


def take_cores(count: int) -> None:
    """Stay on so many processors: some libraries count processors instead of obeying variables."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def check(work: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Write what must agree: the numbers of `check`, and the losses of the first steps."""
    import numpy as np

    numbers: dict[str, Any] = {name: np.asarray(array) for name, array in work.check().items()}
    if "loss" in numbers:
        losses = [work.run() for _ in range(TRACED)]
        numbers["losses of the first steps"] = np.array(losses, numbers["loss"].dtype)
    with Path(order["to"]).open("wb") as file:
        np.savez(file, **numbers)
    return {}


def run(work: Any, order: dict[str, Any]) -> dict[str, Any]:
    """Do the work, timed."""
    return {"seconds": work.turn(order["times"])}


def measured(work: Any, order: dict[str, Any]) -> dict[str, Any]:
    """The most memory so far, or since it was last told to forget; and what there is now."""
    if order["forget"]:
        memory.forget()
    return memory.figures()


ORDERS = {"check": check, "run": run, "memory": measured}

if __name__ == "__main__":
    main()
