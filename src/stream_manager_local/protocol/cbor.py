"""CBOR, as it stands in frames."""

from cbor2 import dumps, loads

__all__ = ["dumps", "loads"]
