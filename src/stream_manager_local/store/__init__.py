"""Streams on the disk or in memory: segments, limits, recovery."""
