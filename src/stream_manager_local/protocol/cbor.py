"""CBOR, as it stands in frames."""

from cbor2 import CBORDecoder, dumps, loads

__all__ = ["CBORDecoder", "dumps", "loads"]
