"""Paired benchmarks: this library and others in turn, on the same work, in one run.

    python -m benchmarks                    every case with every installed peer
    python -m benchmarks --only chain       one case
    python -m benchmarks --help             the rest

Two more measure what is learnt, not how fast:

    python -m benchmarks.learning                       the presets, over several seeds
    python -m benchmarks.shakespeare --text FILE        a published run, beside its PyTorch twin

In the order in which they build on each other:

    problems.py     the work: sizes, initial values, data; formulas.py: the models as functions
    peers/          one module a library, which does the work
    worker.py       the process of one contestant; contestant.py: the same from the parent's side
    harness.py      turns, paired ratios, agreement on the numbers
    cases.py        what there is to measure; runs.py: one case from start to end, launch by launch
    report.py       tables and JSON; charts.py: pictures

Peers come with `pip install ".[peers]"`; those that are missing are left out.
"""
