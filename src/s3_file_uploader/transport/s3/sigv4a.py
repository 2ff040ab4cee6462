"""SigV4A: signatures that hold in every region, which multi-region access points ask for.

They are elliptic-curve signatures, so awscrt makes them, for a tenth of a millisecond each. All
else is as for `sigv4`, whose place this signer takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.transport.s3.crt import sign_for_regions
from s3_file_uploader.transport.s3.sigv4 import ALL_REGIONS, UNSIGNED_HEADERS, Signer

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.credentials import Credentials

__all__ = ["AsymmetricSigner", "signer_for"]


class AsymmetricSigner(Signer):
    """Signs requests for any region."""

    __slots__ = ()

    def sign(
        self,
        method: str,
        host: str,
        path: str,
        query: str,
        headers: dict[str, str],
        *,
        credentials: Credentials,
        payload_hash: str,
        now: float,
    ) -> dict[str, str]:
        sent = {name.lower(): value for name, value in headers.items()}
        sent["host"] = host
        signed = sign_for_regions(
            ALL_REGIONS,
            method,
            f"{path}?{query}" if query else path,
            {name: value for name, value in sent.items() if name not in UNSIGNED_HEADERS},
            secret=(credentials.access_key_id, credentials.secret_access_key, credentials.session_token),
            payload_hash=payload_hash,
            now=int(now),
        )
        return {**sent, **signed}


def signer_for(region: str) -> Signer:
    """What signs requests to that region, or with ALL_REGIONS to any."""
    return AsymmetricSigner(region) if region == ALL_REGIONS else Signer(region)
