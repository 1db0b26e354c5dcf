"""Whole models, one to a file."""

from .gpt import GPT, GPTConfig
from .seq2seq import Seq2Seq, Seq2SeqConfig

__all__ = ["GPT", "GPTConfig", "Seq2Seq", "Seq2SeqConfig"]
