from __future__ import annotations

import hashlib
import string
import time

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import Misconfigured, Refused
from s3_file_uploader.transport.s3.credentials import Credentials
from s3_file_uploader.transport.s3.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    canonical_query,
    encode_key,
)

PUBLISHED = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
PUBLISHED_NOW = 1369353600.0  # 2013-05-24T00:00:00Z
PUBLISHED_HOST = "examplebucket.s3.amazonaws.com"


def signature(headers: dict[str, str]) -> str:
    return headers["authorization"].rpartition("Signature=")[2]


def sign_published(method: str, path: str, query: str, headers: dict[str, str], payload_hash: str) -> str:
    return signature(
        Signer("us-east-1").sign(
            method,
            PUBLISHED_HOST,
            path,
            query,
            headers,
            credentials=PUBLISHED,
            payload_hash=payload_hash,
            now=PUBLISHED_NOW,
        )
    )


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "payload_hash", "expected"),
    [
        pytest.param(
            "GET",
            "/test.txt",
            "",
            {"Range": "bytes=0-9"},
            EMPTY_SHA256,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="get-object",
        ),
        pytest.param(
            "PUT",
            "/" + encode_key("test$file.text"),
            "",
            {"Date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            hashlib.sha256(b"Welcome to Amazon S3.").hexdigest(),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            id="put-object",
        ),
        pytest.param(
            "GET",
            "/",
            canonical_query([("lifecycle", "")]),
            {},
            EMPTY_SHA256,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="get-bucket-lifecycle",
        ),
        pytest.param(
            "GET",
            "/",
            canonical_query([("prefix", "J"), ("max-keys", "2")]),
            {},
            EMPTY_SHA256,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="list-objects",
        ),
    ],
)
def test_the_published_examples_of_s3_have_their_published_signatures(
    method: str, path: str, query: str, headers: dict[str, str], payload_hash: str, expected: str
) -> None:
    assert sign_published(method, path, query, headers, payload_hash) == expected


def signed_by_botocore(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: dict[str, str],
    credentials: Credentials,
    payload_hash: str,
    now: float,
) -> str:
    """Botocore's canonical form, with the moment and the payload hash given to it."""
    theirs = TheirCredentials(
        credentials.access_key_id, credentials.secret_access_key, credentials.session_token
    )
    signer = S3SigV4Auth(theirs, "s3", "eu-central-1")
    url = f"https://{host}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=headers)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Date"] = stamp
    request.headers["X-Amz-Content-SHA256"] = payload_hash
    if credentials.session_token:
        request.headers["X-Amz-Security-Token"] = credentials.session_token
    signer.payload = lambda _: payload_hash  # a given hash: the body is not what is compared here
    canonical = signer.canonical_request(request)
    to_sign = signer.string_to_sign(request, canonical)
    return str(signer.signature(to_sign, request))


# What hosts, keys, header values and tokens may hold; keys are any text that has a UTF-8 form.
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
HEADER_NAMES = st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=20).map(
    lambda name: f"x-amz-meta-{name}"
)
HEADER_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
QUERIES = st.lists(st.tuples(st.text(min_size=1, max_size=10), st.text(max_size=20)), max_size=4, unique=True)
TOKENS = st.none() | st.text(string.ascii_letters + string.digits + "/+=", min_size=1, max_size=60)
MOMENTS = st.floats(min_value=946684800, max_value=4102444800)


@given(
    key=KEYS,
    headers=st.dictionaries(HEADER_NAMES, HEADER_VALUES, max_size=4),
    query=QUERIES,
    token=TOKENS,
    now=MOMENTS,
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
    payload_hash=st.sampled_from([UNSIGNED_PAYLOAD, EMPTY_SHA256]),
    secret=st.text(string.ascii_letters + "/+", min_size=1, max_size=40),
)
def test_it_signs_as_botocore_does(
    key: str,
    headers: dict[str, str],
    query: list[tuple[str, str]],
    token: str | None,
    now: float,
    method: str,
    payload_hash: str,
    secret: str,
) -> None:
    # Header names are case-insensitive: two spellings of one name are one header.
    headers = {name.lower(): value for name, value in headers.items()}
    headers |= {"User-Agent": "s3-file-uploader", "Expect": "100-continue", "Content-Length": "5"}
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    host, path = "bucket.s3.eu-central-1.amazonaws.com", "/" + encode_key(key)
    encoded_query = canonical_query(query)

    ours = Signer("eu-central-1").sign(
        method,
        host,
        path,
        encoded_query,
        headers,
        credentials=credentials,
        payload_hash=payload_hash,
        now=now,
    )

    theirs = signed_by_botocore(method, host, path, encoded_query, headers, credentials, payload_hash, now)
    assert signature(ours) == theirs


def sign(signer: Signer, now: float, credentials: Credentials = PUBLISHED) -> dict[str, str]:
    return signer.sign(
        "PUT",
        "b.example.com",
        "/k",
        "",
        {"Content-Type": "text/csv"},
        credentials=credentials,
        payload_hash=UNSIGNED_PAYLOAD,
        now=now,
    )


def test_all_headers_to_send_come_back_with_lower_case_names() -> None:
    headers = sign(Signer("eu-central-1"), 0.0, Credentials("id", "secret", "token"))

    assert headers["content-type"] == "text/csv"
    assert headers["host"] == "b.example.com"
    assert headers["x-amz-date"] == "19700101T000000Z"
    assert headers["x-amz-content-sha256"] == UNSIGNED_PAYLOAD
    assert headers["x-amz-security-token"] == "token"
    assert all(name == name.lower() for name in headers)


def test_no_token_header_is_sent_without_a_token() -> None:
    assert "x-amz-security-token" not in sign(Signer("eu-central-1"), 0.0)


def test_one_signer_signs_on_both_sides_of_midnight() -> None:
    signer = Signer("eu-central-1")
    midnight = 1_700_006_400.0
    moments = [midnight - 0.5, midnight, midnight + 0.5, midnight - 1, midnight + 86_400]

    assert [sign(signer, now) for now in moments] == [sign(Signer("eu-central-1"), now) for now in moments]


def test_one_signer_signs_with_old_and_new_credentials() -> None:
    signer = Signer("eu-central-1")
    rotation = [
        Credentials("id", "one", "token"),
        Credentials("id", "one", "another token"),
        Credentials("id", "two", "token"),
        Credentials("id", "one", "token"),
        *(Credentials("id", f"secret {number}") for number in range(30)),
    ]

    for credentials in rotation:
        assert sign(signer, 5.0, credentials) == sign(Signer("eu-central-1"), 5.0, credentials)


def test_white_space_in_header_values_is_folded_before_signing() -> None:
    def of(value: str) -> str:
        return sign_published("PUT", "/k", "", {"x-amz-meta-a": value}, UNSIGNED_PAYLOAD)

    assert of("  two   words\t ") == of("two words")
    assert of("two words") != of("twowords")


@pytest.mark.parametrize("value", ["gr\u00fcn", "a\r\nx-injected: 1", "a\x00b", "\x7f"])
def test_header_values_that_http_cannot_carry_are_refused_and_not_shown(value: str) -> None:
    with pytest.raises(Misconfigured, match="x-amz-meta-a") as refusal:
        sign_published("PUT", "/k", "", {"x-amz-meta-a": value}, UNSIGNED_PAYLOAD)

    assert value not in str(refusal.value)


def test_a_token_that_http_cannot_carry_is_refused_and_not_shown() -> None:
    with pytest.raises(Misconfigured) as refusal:
        sign(Signer("eu-central-1"), 0.0, Credentials("id", "secret", "tok\nen"))

    assert "tok" not in str(refusal.value).replace("x-amz-security-token", "")


def test_keys_are_encoded_once_and_keep_their_slashes() -> None:
    assert encode_key("a b/c+d/\u00e4%2F~-_.!'()*") == "a%20b/c%2Bd/%C3%A4%252F~-_.%21%27%28%29%2A"


def test_a_key_without_a_utf8_form_is_refused() -> None:
    with pytest.raises(Refused, match="not valid Unicode"):
        encode_key("a\udcff")


def test_queries_are_sorted_after_encoding() -> None:
    assert canonical_query([("uploads", ""), ("a", "2"), ("a", "1"), ("B", "/ ")]) == (
        "B=%2F%20&a=1&a=2&uploads="
    )


def test_no_secret_shows_in_any_text_of_a_signer_or_of_credentials() -> None:
    credentials = Credentials("THE-ID", "THE-SECRET", "THE-TOKEN", 5.0)
    signer = Signer("eu-central-1")
    sign(signer, 0.0, credentials)

    texts = [repr(credentials), str(credentials), f"{credentials}", repr(signer), str(signer)]

    assert not [text for text in texts for secret in ("THE-ID", "THE-SECRET", "THE-TOKEN") if secret in text]
