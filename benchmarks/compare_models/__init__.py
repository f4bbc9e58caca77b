"""The parts of ``benchmarks/models.py``: ``heads`` (what is compared), ``speed``, ``figures``.

Logs, runs and the search for learning rates are those of ``compare_policies``.
"""
