"""What S3's XML answers say, and the one XML body that we send.

The far side is not trusted: document types and entities are refused, depth, length and number of
elements are bounded, and whatever cannot be read ends as `MalformedAnswer`, never as another
exception. Fields that can hold credentials (a store echoes the string it signed, or the token) are
not taken over at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NoReturn
from xml.parsers import expat

from s3_file_uploader.errors import TransferFault

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "LARGEST_ANSWER_BYTES",
    "CompleteResult",
    "MalformedAnswer",
    "Part",
    "ServiceError",
    "complete_body",
    "complete_result_of",
    "error_of",
    "parts_of",
    "upload_id_of",
]

# A page of ListParts holds 1 000 parts of at most ~1 KB.
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
_MOST_ELEMENTS = 50_000
_DEEPEST = 16
_LONGEST_TEXT = 16 * 1024
_LONGEST_MESSAGE = 300
_LAST_PART_NUMBER = 10_000
# What rclone's server and moto's call an answer of S3.
_ALSO_CALLED = {
    "InitiateMultipartUploadResult": "InitiateMultipartUpload",
    "ListPartsResult": "ListPartsResponse",
}
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_CRC64NVME = "ChecksumCRC64NVME"

# Fields of an <Error> that are worth keeping and hold no credentials. Not here, on purpose:
# AWSAccessKeyId, StringToSign, CanonicalRequest, SignatureProvided, Token-0.
_KEPT_FIELDS = frozenset(
    {
        "ArgumentName",
        "Bucket",
        "BucketName",
        "Condition",
        "Endpoint",
        "Header",
        "HostId",
        "MaxAllowedSkewMilliseconds",
        "MaxSizeAllowed",
        "ProposedSize",
        "RequestTime",
        "ServerTime",
    }
)


class MalformedAnswer(TransferFault):
    """The far side answered with something that is not what S3 says there."""

    advice = "Something may answer in the store's place (a proxy, a login page): look at EndpointUrl."


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An error in the store's own words; all fields are empty when it did not say any."""

    code: str = ""
    message: str = ""
    request_id: str = ""
    region: str = ""
    extra: dict[str, str] = field(default_factory=dict)


class CompleteResult(NamedTuple):
    """What a completed multipart upload is; a field the store did not send is empty."""

    etag: str
    checksum: str
    checksum_type: str


class Part(NamedTuple):
    """One part as the store has it; `checksum` is in base64, or empty."""

    number: int
    size: int
    etag: str
    checksum: str = ""


def error_of(body: bytes) -> ServiceError:
    """The error in an answer that is known to be one. Never raises: proxies answer in HTML."""
    try:
        root = _parse(body)
    except MalformedAnswer:
        return ServiceError()
    # Most stores send <Error>; some services wrap it in <ErrorResponse>.
    found = root if root.name == "Error" else root.child("Error")
    return _service_error(found) if found is not None else ServiceError()


def upload_id_of(body: bytes) -> str:
    """The id in the answer to CreateMultipartUpload."""
    upload_id = _root(body, "InitiateMultipartUploadResult").text_of("UploadId")
    if not upload_id:
        _refuse("it holds no upload id")
    return upload_id


def complete_result_of(body: bytes, checksum: str = _CRC64NVME) -> CompleteResult | ServiceError:
    """The outcome of CompleteMultipartUpload: S3 says 200 first and may still fail, in the body.

    `checksum` names the element that holds it, here and below.
    """
    root = _parse(body)
    if root.name == "Error":
        return _service_error(root)
    if root.name != "CompleteMultipartUploadResult":
        _refuse(f"it is a <{root.name[:40]}>")
    return CompleteResult(root.text_of("ETag"), root.text_of(checksum), root.text_of("ChecksumType"))


def parts_of(body: bytes, checksum: str = _CRC64NVME) -> tuple[list[Part], int | None]:
    """One page of ListParts, and the part number to go on after (None: that was all)."""
    root = _root(body, "ListPartsResult")
    parts = [_part(element, checksum) for element in root.children if element.name == "Part"]
    if root.text_of("IsTruncated").lower() != "true":
        return parts, None
    if not parts:
        _refuse("it promises more parts and holds none")
    # Stores that forget the marker mean the last part they sent.
    marker = root.text_of("NextPartNumberMarker")
    return parts, max(parts[-1].number, _number(marker) if marker else 0)


def complete_body(parts: Iterable[Part], checksum: str = _CRC64NVME) -> bytes:
    """The body of CompleteMultipartUpload; parts in ascending order."""
    rows = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{_escaped(part.etag)}</ETag>"
        + (f"<{checksum}>{_escaped(part.checksum)}</{checksum}>" if part.checksum and checksum else "")
        + "</Part>"
        for part in parts
    )
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{rows}</CompleteMultipartUpload>'.encode()


def _escaped(text: str) -> str:
    # The standard library's own would load its HTTP client and mail parser with it.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@dataclass(slots=True)
class _Element:
    name: str
    text: str = ""
    children: list[_Element] = field(default_factory=list)

    def child(self, name: str) -> _Element | None:
        return next((element for element in self.children if element.name == name), None)

    def text_of(self, name: str) -> str:
        found = self.child(name)
        return found.text.strip() if found is not None else ""


class _Builder:
    """Collects elements while expat walks a document, and stops it at the first sign of malice."""

    def __init__(self) -> None:
        self.root: _Element | None = None
        self._open: list[_Element] = []
        self._pieces: list[str] = []
        self._text_length = 0
        self._count = 0

    def start(self, name: str, attributes: object) -> None:
        del attributes
        self._count += 1
        if self._count > _MOST_ELEMENTS or len(self._open) >= _DEEPEST:
            _refuse("it has more elements than any answer of S3")
        element = _Element(name.rpartition("}")[2])
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._pieces.clear()
        self._text_length = 0

    def text(self, data: str) -> None:
        self._text_length += len(data)
        if self._text_length > _LONGEST_TEXT:
            _refuse("it has a value longer than any of S3's")
        self._pieces.append(data)

    def end(self, name: str) -> None:
        del name
        element = self._open.pop()
        if not element.children:
            element.text = "".join(self._pieces)
        self._pieces.clear()
        self._text_length = 0


def _refuse(reason: str) -> NoReturn:
    raise MalformedAnswer(f"the answer is not what S3 sends: {reason}")


def _parse(body: bytes) -> _Element:
    if len(body) > LARGEST_ANSWER_BYTES:
        _refuse(f"it is longer than {LARGEST_ANSWER_BYTES} bytes")
    builder = _Builder()
    # The encoding is given, so that a declared one cannot choose a decoder of Python's.
    parser = expat.ParserCreate("utf-8", "}")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        # White space keeps the connection alive while S3 assembles; none may stand before <?xml.
        parser.Parse(body.lstrip(), True)
    except expat.ExpatError as error:
        _refuse(f"it is not XML ({expat.ErrorString(error.code)})")
    if builder.root is None:
        _refuse("it is empty")
    return builder.root


def _refuse_doctype(name: str, system_id: str | None, public_id: str | None, has_subset: bool) -> None:
    del name, system_id, public_id, has_subset
    _refuse("it declares a document type")


def _root(body: bytes, name: str) -> _Element:
    root = _parse(body)
    if root.name == "Error":
        _refuse(f"it is the error {root.text_of('Code')[:60]!r}")
    if root.name not in (name, _ALSO_CALLED.get(name)):
        _refuse(f"it is a <{root.name[:40]}>, not a <{name}>")
    return root


def _service_error(element: _Element) -> ServiceError:
    return ServiceError(
        code=element.text_of("Code")[:_LONGEST_MESSAGE],
        message=" ".join(element.text_of("Message").split())[:_LONGEST_MESSAGE],
        request_id=element.text_of("RequestId")[:_LONGEST_MESSAGE],
        region=element.text_of("Region")[:_LONGEST_MESSAGE],
        extra={
            child.name: child.text.strip()[:_LONGEST_MESSAGE]
            for child in element.children
            if child.name in _KEPT_FIELDS
        },
    )


def _part(element: _Element, checksum: str) -> Part:
    number = _number(element.text_of("PartNumber"))
    if not 1 <= number <= _LAST_PART_NUMBER:
        _refuse(f"part number {number} does not exist")
    return Part(
        number,
        _number(element.text_of("Size")),
        element.text_of("ETag"),
        element.text_of(checksum),
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):  # noqa: PLR2004 - fits 64 bits
        _refuse(f"{text[:20]!r} is not a number")
    return int(text)
