"""Everything that is wrong with a configuration, said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MISSING", "Problems", "did_you_mean", "shown"]


MISSING = "is missing: give SRC"  # in what is said of a PathName that nobody gave


def shown(raw: object) -> str:
    """A value as a message can hold it: short, and on one line."""
    from reprlib import Repr  # noqa: PLC0415  # only on the way to an error

    short = Repr()
    short.maxstring = short.maxother = 80
    return short.repr(raw)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Completes a message with the known word that is close, if there is one."""
    from difflib import get_close_matches  # noqa: PLC0415  # slow to import, and only for errors

    by_fold = {each.lower(): each for each in known}
    close = get_close_matches(word.lower(), by_fold, n=1)
    return f"; did you mean {by_fold[close[0]]}?" if close else ""


class Problems:
    """Gathers problems; one that concerns several rules through a shared value is said once.

    `command` is the one that was typed, or another that lists all settings; `advice` stands where nobody typed.
    """

    def __init__(self, command: str = "run", *, advice: str = "") -> None:
        self._command = command
        self._given_advice = advice
        self._said: dict[str, None] = {}

    def add(self, problem: str) -> None:
        self._said[problem] = None

    def __len__(self) -> int:
        return len(self._said)

    def raise_if_any(self) -> None:
        if not self._said:
            return
        if len(self._said) == 1:
            raise ConfigurationError(next(iter(self._said)), advice=self._advice)
        lines = "".join(f"\n  - {problem}" for problem in self._said)
        raise ConfigurationError(
            f"{len(self._said)} problems in the configuration:{lines}", advice=self._advice
        )

    @property
    def _advice(self) -> str:
        """Not `config show`: it stumbles over the same."""
        if self._given_advice:
            return self._given_advice
        if any(MISSING in problem for problem in self._said):
            return f"`s3-file-uploader {self._command} '/data/*.csv' s3://bucket/prefix`, or --config FILE."
        return (
            f"Mend what is named; `s3-file-uploader {self._command} --help` lists all settings,"
            " `config schema` too."
        )
