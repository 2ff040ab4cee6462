"""Whether a client is let in, and in which version of the protocol. Pure: no I/O."""

from __future__ import annotations

import hmac
import re
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stream_manager_local.protocol.requests import ConnectRequest

__all__ = ["SUPPORTED_VERSIONS", "agreed_version", "check_token"]

SUPPORTED_VERSIONS = ("1.1.0", "1.0.0")  # the best first

_VERSION = re.compile(r"\d{1,9}(\.\d{1,9}){0,3}", re.ASCII)


def agreed_version(offered: Sequence[str]) -> str:
    """The best version that both sides know.

    Raises Refused: UNSUPPORTED_PROTOCOL_VERSION when there is none, INVALID_PROTOCOL_VERSION when the
    client's first is no version at all.
    """
    for version in SUPPORTED_VERSIONS:
        if version in offered:
            return version
    supported = " and ".join(SUPPORTED_VERSIONS)
    if _VERSION.fullmatch(offered[0]) is None:
        raise Refused(
            Status.INVALID_PROTOCOL_VERSION,
            f"protocolVersion {offered[0][:40]!r} is no version; {supported} are known here",
        )
    raise Refused(
        Status.UNSUPPORTED_PROTOCOL_VERSION,
        f"the client speaks {', '.join(offered[:5])[:80]}; {supported} are known here",
    )


def check_token(request: ConnectRequest, expected: str) -> None:
    """Raises Refused(UNAUTHORIZED) unless the client sent the token that everybody shares."""
    if not request.auth_token:
        raise Refused(Status.UNAUTHORIZED, "the client sent no authToken, and this server asks for one")
    ours = expected.encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(request.auth_token.encode("utf-8", "surrogatepass"), ours):
        raise Refused(Status.UNAUTHORIZED, "the client's authToken is not the one that this server was given")
