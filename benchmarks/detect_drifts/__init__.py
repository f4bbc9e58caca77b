"""The parts of ``benchmarks/drift.py``: ``logs`` (which streams, and which are for choosing) ·
``traces`` (a model's loss on each, made once) · ``statistics`` (what label-free watchers see) ·
``detection`` (alarms against the known drifts) · ``settings`` (what is tried) · ``wanted``.
"""
