"""Paired benchmarks: this library and others in turn, on the same work, in one run.

    python -m benchmarks                    every case with every installed peer
    python -m benchmarks --only chain       one case

Two more measure what is learnt, not how fast:

    python -m benchmarks.learning                       the presets, over several seeds
    python -m benchmarks.shakespeare --text FILE        a published run, beside its PyTorch twin

harness.py measures, each case has a file of its own.  A case first checks that all its contestants
compute the same numbers.  Peers come with `pip install ".[peers]"`; those that are missing are
left out.
"""
