"""Symbols and their numbers: characters, or words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..engine import Array
from .errors import DataError


class Vocabulary:
    """Distinct symbols in a fixed order; a symbol's position is its token.

    Args:
        symbols: distinct strings; single characters for text.

    Raises:
        DataError: there are none, or one stands twice.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self.token = {symbol: token for token, symbol in enumerate(self.symbols)}
        if not self.symbols or len(self.token) != len(self.symbols):
            raise DataError(
                f"vocabulary: expected distinct symbols, at least one; "
                f"got {len(self.symbols)} of which {len(self.token)} are distinct"
            )

    @classmethod
    def of(cls, texts: Iterable[Iterable[str]]) -> Vocabulary:
        """Every symbol that occurs in `texts`, sorted."""
        return cls(sorted({symbol for text in texts for symbol in text}))

    def __len__(self) -> int:
        return len(self.symbols)

    def __repr__(self) -> str:
        return f"Vocabulary of {len(self)} symbols"

    def encode(self, text: Iterable[str]) -> Array:
        """The tokens of `text`, int64 (T,).

        Raises:
            DataError: a symbol is not in the vocabulary; the message names the first one.
        """
        try:
            return np.fromiter((self.token[symbol] for symbol in text), np.int64)
        except KeyError as error:
            raise DataError(
                f"expected the {len(self)} known symbols ({self.shown()}), "
                f"got {error.args[0]!r}; leave it out"
            ) from None

    def decode(self, tokens: Iterable[int]) -> str:
        """The symbols of `tokens`, joined.

        Raises:
            DataError: a token is not in the vocabulary.
        """
        places = [int(token) for token in tokens]
        if places and not 0 <= min(places) <= max(places) < len(self):
            raise DataError(
                f"expected tokens from 0 to {len(self) - 1}, got {min(places)} to {max(places)}"
            )
        return "".join(self.symbols[place] for place in places)

    def rows(self, texts: Sequence[Iterable[str]], fill: str) -> tuple[Array, Array]:
        """All `texts` in one array (N, T), filled up at the end, and their lengths (N,).

        Raises:
            DataError: a symbol, or `fill`, is not in the vocabulary.
        """
        encoded = [self.encode(text) for text in texts]
        lengths = np.array([len(tokens) for tokens in encoded], np.int64)
        rows = np.full((len(encoded), lengths.max(initial=0)), self.encode([fill]))
        for row, tokens in zip(rows, encoded, strict=True):
            row[: len(tokens)] = tokens
        return rows, lengths

    def shown(self, most: int = 100) -> str:
        """The printable symbols in one line, for messages."""
        between = " " if any(len(symbol) > 1 for symbol in self.symbols) else ""
        line = between.join(symbol for symbol in self.symbols if symbol.isprintable())
        return line if len(line) <= most else line[:most] + " …"
