"""Empties folders into S3: every finished file arrives, proven, and only then leaves the device."""

__version__ = "0.1.0"
