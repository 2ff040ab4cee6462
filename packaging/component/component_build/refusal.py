"""What ends a build: what is wrong, and what to try."""

from __future__ import annotations

__all__ = ["Refusal"]


class Refusal(Exception):
    """`str()` says both, a line each."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}\nTry: {advice}")
