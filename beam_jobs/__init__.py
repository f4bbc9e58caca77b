"""The streaming jobs: raw events to windows of mini-batches, on Apache Beam."""

import logging


def _without_apitools(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("apitools not found")


# Importing Beam warns, through the root logger, that Google Cloud's client is not installed.
logging.getLogger().addFilter(_without_apitools)
