"""The error of this part."""

from __future__ import annotations


class InteropError(ValueError):
    """Weights or a configuration that do not fit; lists everything that is wrong at once.

    Attributes:
        where: what does not fit.
        problems: one sentence for each key or setting.
    """

    def __init__(self, where: str, problems: list[str]) -> None:
        super().__init__("\n  ".join([f"{where}:", *problems]))
        self.where, self.problems = where, problems

    def __reduce__(self) -> tuple[type[InteropError], tuple[str, list[str]]]:
        """So that it reaches another process, by pickle, and can be copied."""
        return type(self), (self.where, self.problems)
