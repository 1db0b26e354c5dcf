"""Checkpoints: a trained model in one safetensors file, with all that rebuilds it.

    save("model.safetensors", model=model, step=600, vocabulary=list(corpus.vocabulary.symbols))
    saved = load("model.safetensors")
    saved.model.generate(...)

saving.py    save: everything into one file, with a digest over every byte of it
loading.py   load: only what was saved, or CheckpointError
values.py    values as JSON, with arrays and generators beside it
models.py    models from their configuration, and no larger than their file
keeper.py    Keeper: the last checkpoints of a run and the best
layout.py    where the digest and the values stand in the file

The weights stand under their names in the model, the optimiser's arrays under "optimizer:", those
of further values under "state:", and all else as JSON in the file's metadata; reading it runs no
code from it.
"""

from .errors import CheckpointError
from .keeper import Keeper
from .loading import Checkpoint, load
from .models import description
from .saving import save

__all__ = ["Checkpoint", "CheckpointError", "Keeper", "description", "load", "save"]
