"""Training the models on what they are for.

task.py          Task: what is learnt; Score
language.py      a GPT on text
translation.py   a Seq2Seq or a Transformer on pairs of texts
digits.py        a ViT on handwritten digits
reference.py     a BERT on sentences with a pronoun
presets.py       sizes and settings with which each learns
loop.py          Trainer: an iterator of steps and evaluations
config.py        TrainConfig: how
run.py           a whole run with its files
resuming.py      where a run stands: saved, compared, restored
folder.py        its checkpoints: the newest few and the best
log.py           the log: one JSON object a line
stopping.py      Ctrl-C and other signals
progress.py      a progress bar, or plain lines
"""

from . import presets
from .config import TrainConfig
from .digits import Recognition
from .errors import TrainError, TrainWarning
from .folder import latest
from .language import Language, text_loss
from .log import Log, read_log
from .loop import Evaluation, Record, Step, Trainer
from .progress import Progress
from .reference import Reading, Reference, understood
from .run import Result, draw, run
from .stopping import Stopped
from .task import Baseline, Score, Task
from .translation import Translation, translated

__all__ = [
    "Baseline",
    "Evaluation",
    "Language",
    "Log",
    "Progress",
    "Reading",
    "Recognition",
    "Record",
    "Reference",
    "Result",
    "Score",
    "Step",
    "Stopped",
    "Task",
    "TrainConfig",
    "TrainError",
    "TrainWarning",
    "Trainer",
    "Translation",
    "draw",
    "latest",
    "presets",
    "read_log",
    "run",
    "text_loss",
    "translated",
    "understood",
]
