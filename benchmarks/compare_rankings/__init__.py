"""The parts of ``benchmarks/ranking.py``, in the order in which they are used.

``contenders`` (models and variants) · ``cost`` (products, memory, bytes) · ``outcome`` · ``kept`` ·
``runs`` · ``figures`` · ``peer`` (RecBole's own models, run by ``recbole_peer``).
"""
