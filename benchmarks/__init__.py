"""Paired benchmarks: this library and others in turn, on the same work, in one run.

    python -m benchmarks                    every case with every installed peer
    python -m benchmarks --only chain       one case

harness.py measures, each case has a file of its own.  A case first checks that all its contestants
compute the same numbers.  Peers come with `pip install ".[peers]"`; those that are missing are
left out.
"""
