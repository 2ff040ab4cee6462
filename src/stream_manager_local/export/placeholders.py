"""`!{timestamp:…}` in object keys: Java's DateTimeFormatter letters, as AWS's clients let them through.

The clients allow letters and slashes in a pattern, nothing else. What a letter means is Java's; where
Java asks the machine's locale, this is English with weeks as ISO 8601 has them. The time zone of the
real component is not documented: it is UTC here.

The uploader knows fewer letters on purpose, since it refuses those that surprise (`YYYY` is the year
of the week). A server must take whatever clients send. Pure: the time is a parameter.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BadPlaceholder", "resolved"]

_PLACEHOLDER = re.compile(r"!\{([a-zA-Z]+):([a-zA-Z/]+)\}")
_RUN = re.compile(r"([a-zA-Z])\1*|/")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_QUARTERS = ("1st quarter", "2nd quarter", "3rd quarter", "4th quarter")
_TWO_DIGITS, _SHORT, _FULL, _NARROW = 2, 3, 4, 5  # what the length of a run of letters asks for
_LONGEST_RUN = 19
_NANOS_OF_MICRO, _NANOS_OF_MILLI, _NANOS_OF_SECOND = 1_000, 1_000_000, 1_000_000_000


class BadPlaceholder(ValueError):
    """A key has a placeholder that stands for nothing; the text says which and why."""


def resolved(key: str, seconds: float) -> str:
    """The key at that time, in seconds since the epoch; BadPlaceholder where Java would refuse."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return _PLACEHOLDER.sub(lambda found: _value(found[1], found[2], moment), key)


def _value(name: str, pattern: str, moment: datetime) -> str:
    if name != "timestamp":
        raise BadPlaceholder(
            f"there is no placeholder !{{{name}:…}}; the one there is looks like !{{timestamp:yyyy/MM/dd}}"
        )
    return "".join(_part(run[0], pattern, moment) for run in _RUN.finditer(pattern))


def _part(run: str, pattern: str, moment: datetime) -> str:
    if run == "/":
        return run
    letter, count = run[0], len(run)
    read = _LETTERS.get(letter)
    text = None if read is None or count > _LONGEST_RUN else read(moment, count)
    if text is None:
        raise BadPlaceholder(
            f"`{run}` in !{{timestamp:{pattern}}} is nothing that Java's DateTimeFormatter takes here; "
            "an example that it takes is !{timestamp:yyyy/MM/dd/HH}"
        )
    return text


def _number(value: Callable[[datetime], int], longest: int = 2) -> Callable[[datetime, int], str | None]:
    """Padded with zeros to as many digits as there are letters."""
    return lambda moment, count: f"{value(moment):0{count}d}" if count <= longest else None


def _year(value: Callable[[datetime], int]) -> Callable[[datetime, int], str | None]:
    def read(moment: datetime, count: int) -> str:
        year = value(moment)
        return f"{year % 100:02d}" if count == _TWO_DIGITS else f"{year:0{count}d}"

    return read


def _name(
    number: Callable[[datetime], int], names: tuple[str, ...], *, has_number: bool = True
) -> Callable[[datetime, int], str | None]:
    """A number for one or two letters, then the short, the full and the narrowest name."""

    def read(moment: datetime, count: int) -> str | None:
        value = number(moment)
        if count <= _TWO_DIGITS and has_number:
            return f"{value:0{count}d}"
        full = names[value - 1]
        if count <= _SHORT:
            return full[:3]
        return {_FULL: full, _NARROW: full[0]}.get(count)

    return read


def _quarter(moment: datetime, count: int) -> str | None:
    value = (moment.month + 2) // 3
    if count <= _TWO_DIGITS:
        return f"{value:0{count}d}"
    return {_SHORT: f"Q{value}", _FULL: _QUARTERS[value - 1], _NARROW: str(value)}.get(count)


def _fraction(moment: datetime, count: int) -> str | None:
    return f"{_nanos(moment):09d}"[:count] if count <= 9 else None  # noqa: PLR2004  (nine digits are nanoseconds)


def _nanos(moment: datetime) -> int:
    return moment.microsecond * _NANOS_OF_MICRO


def _nanos_of_day(moment: datetime) -> int:
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return seconds * _NANOS_OF_SECOND + _nanos(moment)


def _fixed(*texts: str) -> Callable[[datetime, int], str | None]:
    """What is the same at all times in UTC, by the length of the run; an empty text is refused."""
    return lambda _moment, count: (texts[count - 1] or None) if count <= len(texts) else None


_LETTERS: dict[str, Callable[[datetime, int], str | None]] = {
    "G": _fixed("AD", "AD", "AD", "Anno Domini", "A"),
    "u": _year(lambda moment: moment.year),
    "y": _year(lambda moment: moment.year),
    "Y": _year(lambda moment: moment.isocalendar()[0]),
    "D": _number(lambda moment: moment.timetuple().tm_yday, 3),
    "M": _name(lambda moment: moment.month, _MONTHS),
    "L": _name(lambda moment: moment.month, _MONTHS),
    "d": _number(lambda moment: moment.day),
    "Q": _quarter,
    "q": _quarter,
    "w": _number(lambda moment: moment.isocalendar()[1]),
    "E": _name(lambda moment: moment.isoweekday(), _DAYS, has_number=False),
    "e": _name(lambda moment: moment.isoweekday(), _DAYS),
    "a": lambda moment, count: ("AM" if moment.hour < 12 else "PM") if count == 1 else None,  # noqa: PLR2004
    "h": _number(lambda moment: (moment.hour + 11) % 12 + 1),
    "K": _number(lambda moment: moment.hour % 12),
    "k": _number(lambda moment: (moment.hour + 23) % 24 + 1),
    "H": _number(lambda moment: moment.hour),
    "m": _number(lambda moment: moment.minute),
    "s": _number(lambda moment: moment.second),
    "S": _fraction,
    "A": _number(lambda moment: _nanos_of_day(moment) // _NANOS_OF_MILLI, _LONGEST_RUN),
    "n": _number(_nanos, _LONGEST_RUN),
    "N": _number(_nanos_of_day, _LONGEST_RUN),
    "V": _fixed("", "UTC"),
    "z": _fixed("UTC", "UTC", "UTC", "Coordinated Universal Time"),
    "O": _fixed("GMT", "", "", "GMT"),
    "X": _fixed("Z", "Z", "Z", "Z", "Z"),
    "x": _fixed("+00", "+0000", "+00:00", "+0000", "+00:00"),
    "Z": _fixed("+0000", "+0000", "+0000", "GMT", "Z"),
}
