"""A real Flink with Beam's job server on this machine, without containers: for tests and trials.

One JVM from Beam's own jars, which Maven fetches once; it is a cluster of its own for every job.
"""

from beam_jobs.local_flink.jars import missing
from beam_jobs.local_flink.server import LocalFlink

__all__ = ["LocalFlink", "missing"]
