"""Serves an artifact over HTTP: the Open Inference Protocol v2, and the slot of the model."""
