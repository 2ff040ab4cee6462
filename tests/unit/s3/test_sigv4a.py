"""SigV4A, verified as the far side does: with the public key that follows from the secret."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from s3_file_uploader.transport.s3.credentials import Credentials
from s3_file_uploader.transport.s3.sigv4 import UNSIGNED_PAYLOAD, Signer
from s3_file_uploader.transport.s3.sigv4a import AsymmetricSigner, signer_for

ALGORITHM = "AWS4-ECDSA-P256-SHA256"
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
HOST = "m1.mrap.accesspoint.s3-global.amazonaws.com"


def public_key(access_key_id: str, secret: str) -> ec.EllipticCurvePublicKey:
    """As AWS documents it for SigV4A: a candidate from a counter, the first that is small enough."""
    for counter in range(1, 255):
        message = b"\x00\x00\x00\x01" + ALGORITHM.encode() + b"\x00" + access_key_id.encode()
        message += bytes([counter]) + b"\x00\x00\x01\x00"
        candidate = int.from_bytes(hmac.digest(b"AWS4A" + secret.encode(), message, "sha256"), "big")
        if candidate <= ORDER - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1()).public_key()
    raise AssertionError("no key")


def verify(headers: dict[str, str], method: str, path: str, query: str, secret: str) -> None:
    """Raises InvalidSignature."""
    scheme, _, fields = headers["authorization"].partition(" ")
    assert scheme == ALGORITHM
    found = dict(field.split("=", 1) for field in fields.split(", "))
    access_key_id, _, scope = found["Credential"].partition("/")
    names = found["SignedHeaders"].split(";")
    lines = "".join(f"{name}:{headers[name]}\n" for name in names)
    request = "\n".join([method, path, query, lines, found["SignedHeaders"], headers["x-amz-content-sha256"]])
    told = "\n".join([ALGORITHM, headers["x-amz-date"], scope, hashlib.sha256(request.encode()).hexdigest()])
    key = public_key(access_key_id, secret)
    key.verify(bytes.fromhex(found["Signature"]), told.encode(), ec.ECDSA(SHA256()))


def signed(**more: str) -> dict[str, str]:
    return AsymmetricSigner("*").sign(
        "PUT",
        HOST,
        "/a%20b/%C3%A4",
        "partNumber=1&uploadId=x",
        {"Content-Length": "10", "User-Agent": "us", "x-amz-checksum-crc64nvme": "AAAA", **more},
        credentials=Credentials("AKIDEXAMPLE", "secret/key", "token"),
        payload_hash=UNSIGNED_PAYLOAD,
        now=1700000000.5,
    )


def test_a_request_is_signed_for_all_regions_so_that_the_far_side_can_verify_it() -> None:
    headers = signed()
    verify(headers, "PUT", "/a%20b/%C3%A4", "partNumber=1&uploadId=x", "secret/key")
    assert headers["x-amz-region-set"] == "*"
    assert headers["x-amz-security-token"] == "token"
    assert headers["x-amz-date"] == "20231114T221320Z"
    assert (headers["user-agent"], headers["host"]) == ("us", HOST)
    assert "user-agent" not in headers["authorization"]


def test_a_signature_is_void_for_any_other_request() -> None:
    headers = signed()
    with pytest.raises(InvalidSignature):
        verify(
            {**headers, "content-length": "11"},
            "PUT",
            "/a%20b/%C3%A4",
            "partNumber=1&uploadId=x",
            "secret/key",
        )
    with pytest.raises(InvalidSignature):
        verify(headers, "PUT", "/a%20b/%C3%A4", "partNumber=2&uploadId=x", "secret/key")


def test_only_what_goes_to_all_regions_is_signed_so() -> None:
    assert type(signer_for("eu-central-1")) is Signer
    assert type(signer_for("*")) is AsymmetricSigner
