"""The parts of ``benchmarks/policies.py``: one idea a file, in the order in which they are used.

``logs`` (the streams) · ``small_dense`` and ``contenders`` (what is compared) · ``runs`` and
``schedule`` (training, resumable) · ``study`` (rates searched, then seeds) · ``results`` (figures
of a log) · ``narrowing`` (what amgp saves) · ``wanted`` · ``tables``.
"""
