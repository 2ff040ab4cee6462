"""Times, sizes and rates as people write them. Pure text in, numbers out, and back."""

from __future__ import annotations

import re

__all__ = [
    "DURATION_PATTERN",
    "RATE_PATTERN",
    "SIZE_PATTERN",
    "read_duration",
    "read_rate",
    "read_size",
    "write_duration",
    "write_rate",
    "write_size",
]

_SECONDS = {
    "ms": 0.001,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86_400.0,
    "day": 86_400.0,
    "days": 86_400.0,
}
_BYTES = {"": 1, "b": 1, "byte": 1, "bytes": 1}
for _place, _letter in enumerate("kmgt", start=1):
    _BYTES[_letter] = _BYTES[f"{_letter}i"] = _BYTES[f"{_letter}ib"] = 1024**_place
    _BYTES[f"{_letter}b"] = 1000**_place
_BITS = {"bit": 1, "kbit": 1000, "mbit": 1000**2, "gbit": 1000**3}

_NUMBER = r"(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
# Not compiled before they are needed: most starts read no value with a unit.
_ONE_TIME = rf"({_NUMBER})\s*([a-z]+)"
_SIZE = rf"({_NUMBER})\s*([a-z]*)"


def _any_case(words: list[str]) -> str:
    """The words as alternatives of a regular expression that has no flag for case (JSON Schema's)."""
    longest_first = sorted((word for word in words if word), key=len, reverse=True)
    return "|".join("".join(f"[{c.upper()}{c}]" for c in word) for word in longest_first)


DURATION_PATTERN = rf"^\s*(?:{_NUMBER}|(?:{_NUMBER}\s*(?:{_any_case(list(_SECONDS))})\s*)+)\s*$"
SIZE_PATTERN = rf"^\s*{_NUMBER}\s*(?:{_any_case(list(_BYTES))})?\s*$"
RATE_PATTERN = rf"^\s*{_NUMBER}\s*(?:{_any_case(list(_BYTES) + list(_BITS))})?\s*(?:/\s*[sS])?\s*$"


def read_duration(text: str) -> float:
    """Seconds in "10", "1s", "5 min", "1h30m"; ValueError for anything else."""
    folded = text.strip().lower()
    if re.fullmatch(_NUMBER, folded):
        return float(folded)
    parts = re.findall(_ONE_TIME, folded, re.ASCII)
    rest = re.sub(_ONE_TIME, "", folded, flags=re.ASCII).strip()
    if not parts or rest:
        raise ValueError("not a time")
    try:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    except KeyError as unknown:
        raise ValueError(f"{unknown} is no unit of time") from None


def read_size(text: str) -> int:
    """Bytes in "1048576", "256 MiB", "10MB", "1.5G"; ValueError for anything else."""
    return _counted(text.strip().lower(), _BYTES)


def read_rate(text: str) -> int:
    """Bytes per second in "2000000", "2 MB/s", "10 Mbit/s"; ValueError for anything else."""
    folded = re.sub(r"\s*/\s*s$", "", text.strip().lower())
    if folded.endswith("bit"):
        return _counted(folded, _BITS) // 8
    return _counted(folded, _BYTES)


def _counted(folded: str, units: dict[str, int]) -> int:
    found = re.fullmatch(_SIZE, folded, re.ASCII)
    if found is None:
        raise ValueError("not a number with a unit")
    if found[2] not in units:
        raise ValueError(f"{found[2]!r} is no unit")
    if "." not in found[1]:
        return int(found[1]) * units[found[2]]
    return round(float(found[1]) * units[found[2]])


def write_duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds == int(seconds) else f"{seconds!r} s"


def write_size(size_bytes: int) -> str:
    for letter in "TGM":
        for unit in (f"{letter}iB", f"{letter}B"):
            if size_bytes and size_bytes % _BYTES[unit.lower()] == 0:
                return f"{size_bytes // _BYTES[unit.lower()]} {unit}"
    return str(size_bytes)


def write_rate(bytes_per_second: int) -> str:
    text = write_size(bytes_per_second)
    return f"{text}/s" if " " in text else text
