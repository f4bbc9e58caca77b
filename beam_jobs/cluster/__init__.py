"""The streaming job on a cluster: readers in parallel, one writer of the mini-batch log.

Readers poll, decode and validate; the writer, keyed by the log's shard, holds the same window
buffer and commits as the job on one machine. What a runner keeps (positions of readers, keyed
state) is never the truth. A writer that starts claims the log and says in it from where each
partition is to be read: that is a *reading*. Readers follow the newest one, and everything they
send names it; the writer drops what belongs to another. So a writer that is killed, moved or
restored costs re-reading of the open windows, and nothing is lost or written twice.
"""
