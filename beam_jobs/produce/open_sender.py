"""The sender that a configuration names."""

from __future__ import annotations

from beam_jobs.kafka_settings import CONFLUENT, KafkaSettings
from beam_jobs.produce.confluent_sender import ConfluentSender
from beam_jobs.produce.kafka_python_sender import KafkaPythonSender
from beam_jobs.produce.sender import Sender


def open_sender(settings: KafkaSettings) -> Sender:
    """A sender with the client that the settings name.

    Raises:
        ConfigError: a setting that the client does not have, or the client is not installed.
        RunError: no broker answers.
    """
    if settings.client == CONFLUENT:
        return ConfluentSender(settings)
    return KafkaPythonSender(settings)
