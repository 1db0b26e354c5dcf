"""Whole models, one to a file."""

from .gpt import GPT, GPTConfig

__all__ = ["GPT", "GPTConfig"]
