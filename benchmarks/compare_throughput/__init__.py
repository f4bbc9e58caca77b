"""The parts of ``benchmarks/throughput.py``, in the order in which they are used.

``clicks`` (the rows that all learn) · ``own`` (this project's models) · ``limit`` (their products
and look-ups, run bare) · ``peer`` and ``peer_worker`` (FuxiCTR, DeepCTR-Torch, each a process with
an interpreter of its own) · ``turns`` (who learns when) · ``figures``.
"""
