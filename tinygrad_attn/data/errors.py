"""What is raised about inputs."""

from __future__ import annotations


class DataError(ValueError):
    """An input that cannot be used: says what was expected, what came, and what to do."""
