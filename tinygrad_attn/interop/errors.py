"""The error of this part."""

from __future__ import annotations


class InteropError(ValueError):
    """Weights or a configuration that do not fit; lists everything that is wrong at once.

    Attributes:
        problems: one sentence for each key or setting.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        super().__init__("\n  ".join([f"{where}:", *problems]))
        self.problems = problems
