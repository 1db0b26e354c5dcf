"""Training a GPT on text.

loop.py          Trainer: an iterator of steps and evaluations; `evaluate`
config.py        TrainConfig: how
run.py           a whole run with its files
log.py           the log: one JSON object a line
progress.py      a progress bar, or plain lines
environment.py   versions and thread counts for the log
"""

from .config import TrainConfig
from .errors import TrainError
from .log import Log, read_log
from .loop import Evaluation, Record, Step, Trainer, evaluate
from .progress import Progress
from .run import Result, run

__all__ = [
    "Evaluation",
    "Log",
    "Progress",
    "Record",
    "Result",
    "Step",
    "TrainConfig",
    "TrainError",
    "Trainer",
    "evaluate",
    "read_log",
    "run",
]
