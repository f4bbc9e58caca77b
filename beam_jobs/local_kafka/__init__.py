"""A real Kafka broker on this machine, without containers: for demos, load tests and the tests.

One KRaft node (broker and controller in one JVM) from Kafka's own jars, which Maven fetches once.
"""

from beam_jobs.local_kafka.broker import LocalKafka
from beam_jobs.local_kafka.java import missing

__all__ = ["LocalKafka", "missing"]
