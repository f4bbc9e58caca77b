"""The parts of ``benchmarks/drift.py``: ``logs`` (which streams, and which are for choosing) ·
``traces`` (a model's loss on each, made once) · ``series`` (what detectors are fed with) ·
``detection`` (alarms against the known drifts) · ``oracle`` (how soon they could be found at all) ·
``settings`` (what is tried).
"""
