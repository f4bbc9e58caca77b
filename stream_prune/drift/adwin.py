"""ADWIN, on scaled values."""

from __future__ import annotations

from stream_prune.drift.replayed import ReplayedDetector


class Adwin(ReplayedDetector):
    """river's adaptive windowing detector, fed with values times ``scale``.

    Its bound assumes values in a range of about 1 and mini-batch losses move by hundredths: on the
    raw loss it finds next to nothing. Settings as chosen on this project's drifting logs.

    Args:
        scale: multiplies every value.
        delta: river's confidence parameter; smaller alarms less.

    Source: Bifet and Gavaldà, Learning from Time-Changing Data with Adaptive Windowing (SDM 2007);
    ``river.drift.ADWIN``.
    """

    def __init__(self, scale: float = 20.0, delta: float = 0.3) -> None:
        # clock=1: look at every value; a slice is hundreds of examples already.
        super().__init__("ADWIN", {"delta": delta, "clock": 1}, scale)
