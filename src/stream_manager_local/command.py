"""The command `stream-manager-local`."""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Start the server and serve until told to stop; returns the exit code."""
    return 2
