"""TLS as this program does it: always verified, and named for what is wrong when that fails.

"TLS error" helps nobody: an expired certificate (or a device's wrong clock), an authority that is not
known here, another name, and a port that speaks no TLS at all are four things with four cures.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError, Misconfigured, Unreachable
from s3_file_uploader.transport.s3.reactor import NoProgress

if TYPE_CHECKING:
    from s3_file_uploader.errors import DeliveryError

__all__ = ["said", "tls_context", "tls_fault"]


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Certificates are verified against the system's authorities, or against CaBundle alone."""
    try:
        context = ssl.create_default_context(cafile=ca_bundle or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"CaBundle {ca_bundle!r} cannot be used: {said(error)}",
            advice="CaBundle (AWS_CA_BUNDLE) names a readable file of certificates in PEM form.",
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context


# OpenSSL's own numbers (x509_vfy.h).
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_LEAF_ISSUER = (
    9,
    10,
    18,
    19,
    20,
    21,
)
_WRONG_HOST, _WRONG_ADDRESS = 62, 64
_NO_COMMON_LANGUAGE = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "NO_PROTOCOLS_AVAILABLE",
        "DH_KEY_TOO_SMALL",
    }
)


def tls_fault(error: ssl.SSLError, where: str) -> DeliveryError:
    """The error that a failed handshake with `where` stands for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_fault(error, where)
    if error.reason in (
        "WRONG_VERSION_NUMBER",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
    ):
        return Misconfigured(
            f"{where} does not speak TLS on that port",
            advice="EndpointUrl starts with https://; http:// or another port may be meant.",
        )
    if error.reason in _NO_COMMON_LANGUAGE:
        return Misconfigured(
            f"{where} and this device have no version of TLS, or no cipher, in common: {said(error)}",
            advice="The store must speak TLS 1.2 or newer; so must what opens TLS on the way, if anything does.",
        )
    return Unreachable(f"no TLS connection to {where}: {said(error)}")


def _certificate_fault(error: ssl.SSLCertVerificationError, where: str) -> DeliveryError:
    code, said = error.verify_code, error.verify_message
    if code in (_NOT_YET_VALID, _EXPIRED):
        state = "has expired" if code == _EXPIRED else "is not valid yet"
        return Unreachable(
            f"the certificate of {where} {state}",
            advice="Look at this device's clock first; if it is right, the store's certificate must be renewed.",
        )
    if code in (_SELF_SIGNED, _SELF_SIGNED_IN_CHAIN, _NO_ISSUER, _NO_LEAF_ISSUER):
        kind = (
            "is self-signed" if code == _SELF_SIGNED else "comes from an authority that is not trusted here"
        )
        return Misconfigured(
            f"the certificate of {where} {kind}",
            advice="Set CaBundle (AWS_CA_BUNDLE) to the certificate of the store's authority, and make sure"
            " that no proxy or login page answers in its place.",
        )
    if code in (_WRONG_HOST, _WRONG_ADDRESS):
        return Misconfigured(
            f"the certificate of {where} is for another name: {said}",
            advice="Use a name in EndpointUrl that the certificate carries, or set PathStyle to true.",
        )
    return Misconfigured(f"the certificate of {where} is not accepted: {said}")


def said(error: BaseException) -> str:
    """The system's own words for an error of a socket, without numbers and source lines."""
    if isinstance(error, NoProgress):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
