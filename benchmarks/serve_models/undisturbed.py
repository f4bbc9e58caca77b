"""Latency of a program, and not of the machine under it: awake cores, and the first turn on them.

What latency-critical services get in production, and what `cyclictest` and the profile
`latency-performance` of `tuned` ask for: idle cores do not halt (a halted core of a virtual machine
must wait for its host), no other program is served first, and server and client have a core each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_QOS = "/dev/cpu_dma_latency"


def allowed() -> bool:
    """Whether this user may ask for it on this system; on Linux root may."""
    return os.access(_QOS, os.W_OK) and hasattr(os, "SCHED_RR")


@contextmanager
def undisturbed() -> Iterator[None]:
    """While this lasts, programs started here run so; all is as before at the end."""
    cores, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    given = os.sched_getparam(0)
    with ExitStack() as stack:
        awake = os.open(_QOS, os.O_WRONLY)  # it holds for as long as the file is open
        stack.callback(os.close, awake)
        os.write(awake, (0).to_bytes(4, "little"))
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(20))
        stack.callback(os.sched_setscheduler, 0, policy, given)
        os.sched_setaffinity(0, {max(cores)})
        stack.callback(os.sched_setaffinity, 0, cores)
        yield


def leave_core() -> None:
    """Move this process off the core of the programs that it has started."""
    others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
    if others:
        os.sched_setaffinity(0, others)
