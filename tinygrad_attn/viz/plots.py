"""Plots with matplotlib.

    matrices.py    heatmap, attention_maps, alignments
    curves.py      loss_curve
    overlays.py    overlays: maps over images
    links.py       word_links: lines between words
    sweeps.py      saturation: what grows with the width of a head, and what with the length
    figures.py     what they share

Every function writes one SVG, PNG or PDF and returns its path.  Nothing global is touched: no
pyplot, no backend, and the user's settings come back afterwards.  Labels are text, never
mathematics.  matplotlib is imported when the first plot is made.
"""

from .curves import loss_curve
from .links import word_links
from .matrices import alignments, attention_maps, heatmap
from .overlays import overlays
from .sweeps import saturation

__all__ = [
    "alignments", "attention_maps", "heatmap", "loss_curve", "overlays", "saturation", "word_links",
]  # fmt: skip
