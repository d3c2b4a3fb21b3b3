"""Measurements: ratios in one run, interleaved; no absolute times."""
