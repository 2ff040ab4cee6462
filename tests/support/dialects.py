"""Stores of one's own dialect, on a scripted endpoint: they do all that is asked but for what a test takes away."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.transport.s3.crt import crc32c, crc64nvme

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.scripted_s3 import Line, Request

__all__ = ["Dialect"]


def _encoded(value: int, width: int) -> str:
    return base64.b64encode(value.to_bytes(width, "big")).decode()


_HEADERS: dict[str, Callable[[bytes], str]] = {
    "x-amz-checksum-crc64nvme": lambda body: _encoded(crc64nvme(body), 8),
    "x-amz-checksum-crc32c": lambda body: _encoded(crc32c(body), 4),
}
_OPERATIONS = {
    ("PUT", False): "PutObject",
    ("PUT", True): "UploadPart",
    ("DELETE", False): "DeleteObject",
    ("DELETE", True): "AbortMultipartUpload",
    ("POST", False): "CreateMultipartUpload",
    ("POST", True): "CompleteMultipartUpload",
    ("GET", True): "ListParts",
    ("HEAD", False): "HeadObject",
}


@dataclass
class Dialect:
    """`faults` are by operation and are played in place of an answer, the first time and ever after.

    `computes`: the checksums it knows. `is_parrot`: it tells them as they were sent. `on_request` is
    called before each request is served.
    """

    computes: tuple[str, ...] = ("crc64nvme", "crc32c")
    is_parrot: bool = False
    ignores_conditions: bool = False
    wants_signed: bool = False
    etag_is_md5: bool = True
    delete_headers: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Callable[[Line], None]] = field(default_factory=dict)
    on_request: Callable[[str], None] = lambda operation: None
    operations: list[str] = field(default_factory=list)

    def __call__(self, line: Line) -> None:
        while (request := line.request()) is not None:
            self._serve(line, request, line.body(request.size))

    def _serve(self, line: Line, request: Request, body: bytes) -> None:
        operation = _OPERATIONS.get((request.method, "uploadId" in request.query), "ListObjectsV2")
        self.operations.append(operation)
        self.on_request(operation)
        if operation in self.faults:
            self.faults[operation](line)
        elif self.wants_signed and request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD":
            line.refuse(400, "XAmzContentSHA256Mismatch")
        else:
            getattr(self, f"_{operation}")(line, request, body)

    def _ListObjectsV2(self, line: Line, request: Request, body: bytes) -> None:
        line.answer()

    def _PutObject(self, line: Line, request: Request, body: bytes) -> None:
        is_there = request.path in line.server.objects
        if is_there and "if-none-match" in request.headers and not self.ignores_conditions:
            line.refuse(412, "PreconditionFailed")
        elif self._is_wrong(request, body):
            line.refuse(400, "BadDigest")
        else:
            line.server.objects[request.path] = body
            line.answer(200, self._told(request, body))

    def _CreateMultipartUpload(self, line: Line, request: Request, body: bytes) -> None:
        upload_id = f"u{len(self.operations)}"
        line.server.uploads[upload_id] = {}
        text = (
            f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
        )
        line.answer(body=text.encode())

    def _UploadPart(self, line: Line, request: Request, body: bytes) -> None:
        line.server.uploads[request.query["uploadId"]][1] = body
        line.answer(200, self._told(request, body))

    def _ListParts(self, line: Line, request: Request, body: bytes) -> None:
        [part] = line.server.uploads[request.query["uploadId"]].values()
        row = f"<Part><PartNumber>1</PartNumber><Size>{len(part)}</Size><ETag>e</ETag></Part>"
        line.answer(body=f"<ListPartsResult>{row}</ListPartsResult>".encode())

    def _CompleteMultipartUpload(self, line: Line, request: Request, body: bytes) -> None:
        [content] = line.server.uploads[request.query["uploadId"]].values()
        if self._is_wrong(request, content):
            line.refuse(400, "BadDigest")
            return
        del line.server.uploads[request.query["uploadId"]]
        line.server.objects[request.path] = content
        told = self._told(request, content)
        value = told.get("x-amz-checksum-crc64nvme", "")
        inner = f"<ETag>{self._etag(hashlib.md5(content).digest())}-1</ETag>"
        inner += f"<ChecksumCRC64NVME>{value}</ChecksumCRC64NVME>" if value else ""
        line.answer(body=f"<CompleteMultipartUploadResult>{inner}</CompleteMultipartUploadResult>".encode())

    def _AbortMultipartUpload(self, line: Line, request: Request, body: bytes) -> None:
        if line.server.uploads.pop(request.query["uploadId"], None) is None:
            line.refuse(404, "NoSuchUpload")
        else:
            line.answer(204)

    def _DeleteObject(self, line: Line, request: Request, body: bytes) -> None:
        line.server.objects.pop(request.path, None)
        line.answer(204, self.delete_headers)

    def _HeadObject(self, line: Line, request: Request, body: bytes) -> None:
        content = line.server.objects[request.path]
        told = {
            name: of(content) for name, of in _HEADERS.items() if name.rpartition("-")[2] in self.computes
        }
        line.answer(200, told)

    def _told(self, request: Request, body: bytes) -> dict[str, str]:
        told = {"etag": f'"{self._etag(body)}"'}
        for name, of in _HEADERS.items():
            if name in request.headers and name.rpartition("-")[2] in self.computes:
                told[name] = request.headers[name] if self.is_parrot else of(body)
        return told

    def _etag(self, body: bytes) -> str:
        return hashlib.md5(body).hexdigest() if self.etag_is_md5 else "opaque"

    def _is_wrong(self, request: Request, body: bytes) -> bool:
        """Whether it notices that these are other bytes than were announced."""
        return not self.is_parrot and any(
            request.headers.get(name, of(body)) != of(body)
            for name, of in _HEADERS.items()
            if name.rpartition("-")[2] in self.computes
        )
