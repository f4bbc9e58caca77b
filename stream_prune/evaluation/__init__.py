"""Prequential figures: normalized entropy, AUC, calibration."""
