"""What is raised about training."""

from __future__ import annotations


class TrainError(RuntimeError):
    """A run that cannot start or go on: says what was expected, what came, and what to do."""
