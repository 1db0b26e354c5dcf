"""What is raised and warned of about training."""

from __future__ import annotations


class TrainError(RuntimeError):
    """A run that cannot start or go on: says what was expected, what came, and what to do."""


class TrainWarning(UserWarning):
    """A run goes on, but not just as it would have: says what is different."""
