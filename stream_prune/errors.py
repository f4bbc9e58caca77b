"""The two errors that are meant for a user: their message names thing, place and way out."""


class ConfigError(Exception):
    """What was asked for cannot be: a wrong key, value, file or combination (exit code 2)."""


class RunError(Exception):
    """What was asked for could be, but went wrong while running (exit code 1)."""


class DivergedError(RunError):
    """Training has gone wrong by itself: gradients or scores are not finite, whatever the batch.

    A run with a checkpoint may go back to it; nothing else can be mended from within.
    """
