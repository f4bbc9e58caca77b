"""The job on a Flink of this machine: events a second, start-up of the cluster left out."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from beam_jobs.cluster.host import stream_on_cluster
from beam_jobs.local_flink import LocalFlink
from beam_jobs.stream_options import StreamOptions
from run_pipeline.ways import Cost


def on_flink(options: StreamOptions, flink: LocalFlink, readers: int = 4) -> Cost:
    """Read the topic once; its log must be a folder that is not there yet.

    The clock runs from the writer's word on where to read to the last commit; processor time is
    this process's, where the workers are, without Flink's.
    """
    log = Path(str(options.log))
    own = {"job_endpoint": flink.endpoint}
    cpu = time.process_time()
    done = stream_on_cluster(
        replace(options, runner="flink", readers=readers, runner_options=own), to_end=True
    )
    begun = (log / "reading-000001.json").stat().st_mtime
    last = max(path.stat().st_mtime for path in (log / "commits" / "0").iterdir())
    return Cost(events=done.rows, wall=last - begun, cpu=time.process_time() - cpu)
