"""Asks a store what it supports, on objects of its own that it takes away again, whatever happens.

Each question is a request that an upload would send, and the same one with something wrong in it: a
checksum counts as proof only from a store that would have noticed. What may be there is noted before
the request that makes it leaves, so that a broken line, a refusal or Ctrl-C leaves nothing unknown.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict

from s3_file_uploader.cli.doctor.finding import Finding, ok, warn
from s3_file_uploader.cli.doctor.support import Answer, Proof, Support
from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    DeliveryError,
    Refused,
    TransferFault,
    Unreachable,
)
from s3_file_uploader.transport.s3.checksums import CRC32C, CRC64NVME, MD5
from s3_file_uploader.transport.s3.faults import ContentRejected, ServerFault, UploadGone
from s3_file_uploader.transport.s3.sigv4 import UNSIGNED_PAYLOAD
from s3_file_uploader.transport.s3.xml import (
    CompleteResult,
    Part,
    complete_body,
    complete_result_of,
    parts_of,
    upload_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Unpack

    from s3_file_uploader.cli.doctor.interruption import HeldInterruption
    from s3_file_uploader.transport.s3.checksums import Checksum
    from s3_file_uploader.transport.s3.http1 import Response
    from s3_file_uploader.transport.s3.inquiry import Inquiry

__all__ = ["CONTENT", "Probe"]

CONTENT = b"A probe of s3-file-uploader check; it may be removed.\n"
_OTHER = b"Another text, which must not pass for the first one.\n"
_CHECKSUMS = (CRC64NVME, CRC32C, MD5)  # in the order of preference
_IF_ABSENT = {"if-none-match": "*"}
_NOT_SUPPORTED = ("NotImplemented", "NotSupported", "501")


class _More(TypedDict, total=False):
    """Of a request, beside what is asked of which key."""

    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str] | None
    body: bytes
    payload_hash: str


class Probe:
    """`key` is the object that questions are asked about; nothing of that name is there before.

    `headers` are those of every object, without which a bucket's policy may refuse one.
    """

    def __init__(
        self,
        inquiry: Inquiry,
        held: HeldInterruption,
        *,
        bucket: str,
        key: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._inquiry = inquiry
        self._held = held
        self._bucket = bucket
        self._key = key
        self._headers = headers or {}
        self._objects: dict[str, None] = {}
        self._uploads: dict[str, None] = {}
        self._is_begun_unheard = False  # an upload in parts whose id never came
        self.support = Support()

    def will_make(self, key: str) -> None:
        """Somebody else is about to make an object that is to be removed with the others."""
        self._objects[key] = None

    def ask_all(self, *, until_proven: bool = True) -> None:
        """Fill `support`; DeliveryError where the destination takes no questions (any more).

        `until_proven`: checksums are tried in the order of preference, up to the first that proves.
        """
        self.support = replace(self.support, keeps_existing=self._keeps_existing())
        self.support = replace(self.support, takes_unsigned=self._takes_unsigned())
        for checksum in _CHECKSUMS:
            name = checksum.name
            whole = {**self.support.whole, name: self._in_one(checksum)}
            self.support = replace(self.support, whole=whole)
            parts = {**self.support.parts, name: self._in_parts(checksum)}
            self.support = replace(self.support, parts=parts)
            if until_proven and self.support.proves(name):
                break
        self.support = replace(self.support, aborts=self._aborts())

    def clean_up(self, area: str) -> Iterator[Finding]:
        """Take everything away; what cannot be is named. To be consumed to its end."""
        is_clean, keeps_versions = not self._is_begun_unheard, False
        if self._is_begun_unheard:
            yield warn(
                area,
                f"an upload in parts to s3://{self._bucket}/{self._key} may have begun, and its id is not known",
                "Leave it to the bucket's lifecycle (AbortIncompleteMultipartUpload).",
            )
        for upload_id in list(self._uploads):
            error = self._undo("AbortMultipartUpload", self._key, (("uploadId", upload_id),))
            if error is not None:
                is_clean = False
                yield warn(
                    area,
                    f"an upload in parts to s3://{self._bucket}/{self._key} could not be aborted: {error}",
                    f"Abort upload {upload_id} by hand, or leave it to the bucket's lifecycle.",
                )
        for key in list(self._objects):
            error = self._undo("DeleteObject", key)
            keeps_versions |= self._inquiry.last_headers.get("x-amz-delete-marker", "") == "true"
            if error is not None:
                is_clean = False
                yield warn(
                    area,
                    f"a probe object could not be removed: {error}",
                    f"Remove s3://{self._bucket}/{key} by hand. Uploads need no right to delete.",
                )
        if is_clean:
            note = "; as the bucket keeps versions, theirs stay there" if keeps_versions else ""
            yield ok(area, f"what the probe made was removed{note}")

    # -- the questions

    def _keeps_existing(self) -> Answer:
        """Twice the same: the second must be refused."""
        if self._put(CONTENT, _IF_ABSENT) is None:
            return Answer.NO
        try:
            self._put(_OTHER, _IF_ABSENT, must_answer=True)
        except AlreadyExists:
            return Answer.YES
        except DeliveryError as error:
            if not _is_no(error):
                raise
        return Answer.NO

    def _takes_unsigned(self) -> Answer:
        if self._inquiry.signs_payload:
            return Answer.YES
        try:
            answer = self._put(CONTENT, payload_hash=UNSIGNED_PAYLOAD)
        except AccessDenied:  # some stores call it a signature that does not match
            answer = None
        return Answer.NO if answer is None else Answer.YES

    def _in_one(self, checksum: Checksum) -> Proof:
        value = checksum.of(CONTENT)
        answer = self._put(CONTENT, checksum.announced(value))
        if answer is None:
            return Proof.REFUSED
        told = checksum.echo(answer.headers)
        if told != value:
            return Proof.WRONG if told else Proof.MISSING
        answer = self._put(_OTHER, checksum.announced(value))
        return Proof.GIVEN if answer is None or checksum.echo(answer.headers) != value else Proof.WORTHLESS

    def _in_parts(self, checksum: Checksum) -> Proof:
        value = _whole(checksum, CONTENT)
        told = self._completed(checksum, value)
        if told is None:
            return Proof.REFUSED
        if told != value:
            return Proof.WRONG if told else Proof.MISSING
        if not checksum.closing(value):  # nothing is said of the whole that could be wrong
            return Proof.GIVEN
        wrong = _whole(checksum, _OTHER)
        return Proof.WORTHLESS if self._completed(checksum, wrong) == wrong else Proof.GIVEN

    def _aborts(self) -> Answer:
        upload_id = self._begin({})
        if upload_id is None:
            return Answer.UNKNOWN
        try:
            answer = self._attempt(
                "AbortMultipartUpload", "DELETE", self._key, query=(("uploadId", upload_id),)
            )
        except AccessDenied:
            return Answer.DENIED
        if answer is None:
            return Answer.NO
        self._uploads.pop(upload_id)
        return Answer.YES

    # -- an upload in parts

    def _completed(self, checksum: Checksum, value: str) -> str | None:
        """What the store tells of an object made of one part that is said to have `value`; None: a refusal."""
        upload_id = self._begin(checksum.opening())
        if upload_id is None:
            return None
        of_part = checksum.of(CONTENT)
        sent = self._attempt(
            "UploadPart",
            "PUT",
            self._key,
            query=(("partNumber", "1"), ("uploadId", upload_id)),
            headers=checksum.announced(of_part),
            body=CONTENT,
        )
        if sent is None:
            return None
        if self.support.lists_parts is Answer.UNKNOWN:
            self.support = replace(self.support, lists_parts=self._lists_parts(upload_id))
        part = Part(1, len(CONTENT), sent.headers.get("etag", ""), of_part)
        self._objects[self._key] = None
        answer = self._attempt(
            "CompleteMultipartUpload",
            "POST",
            self._key,
            query=(("uploadId", upload_id),),
            headers=checksum.closing(value),
            body=complete_body([part], checksum.element),
        )
        result = None if answer is None else complete_result_of(answer.body, checksum.element)
        if not isinstance(result, CompleteResult):
            return None
        self._uploads.pop(upload_id, None)
        return checksum.of_completed(result.checksum, result.etag) or self._by_head(checksum)

    def _begin(self, headers: Mapping[str, str]) -> str | None:
        try:
            answer = self._attempt(
                "CreateMultipartUpload",
                "POST",
                self._key,
                query=(("uploads", ""),),
                headers={**self._headers, **headers},
            )
            if answer is None:
                return None
            upload_id = upload_id_of(answer.body)
        except (TransferFault, Unreachable):
            self._is_begun_unheard = True
            raise
        self._uploads[upload_id] = None
        return upload_id

    def _lists_parts(self, upload_id: str) -> Answer:
        try:
            answer = self._attempt("ListParts", "GET", self._key, query=(("uploadId", upload_id),))
        except AccessDenied:
            return Answer.DENIED
        listed: Iterable[Part] = () if answer is None else parts_of(answer.body)[0]
        return Answer.YES if any(part.size == len(CONTENT) for part in listed) else Answer.NO

    def _by_head(self, checksum: Checksum) -> str:
        try:
            answer = self._attempt(
                "HeadObject", "HEAD", self._key, headers={"x-amz-checksum-mode": "ENABLED"}
            )
        except AccessDenied:
            answer = None
        return "" if answer is None else checksum.echo(answer.headers)

    # -- requests

    def _put(
        self,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        payload_hash: str = "",
        must_answer: bool = False,
    ) -> Response | None:
        self._objects[self._key] = None
        ask, fields = self._ask if must_answer else self._attempt, {**self._headers, **(headers or {})}
        return ask("PutObject", "PUT", self._key, headers=fields, body=body, payload_hash=payload_hash)

    def _attempt(self, operation: str, method: str, key: str, **more: Unpack[_More]) -> Response | None:
        """None where the store says no to this very request."""
        try:
            return self._ask(operation, method, key, **more)
        except DeliveryError as error:
            if _is_no(error):
                return None
            raise

    def _ask(self, operation: str, method: str, key: str, **more: Unpack[_More]) -> Response:
        self._held.check()
        return self._inquiry.ask(operation, method, key, **more)

    def _undo(
        self, operation: str, key: str, query: tuple[tuple[str, str], ...] = ()
    ) -> DeliveryError | None:
        """Not stopped by an interruption: it is what the interruption waits for."""
        try:
            self._inquiry.ask(operation, "DELETE", key, query=query)
        except UploadGone:
            return None
        except DeliveryError as error:
            return error
        return None


def _is_no(error: DeliveryError) -> bool:
    """To what was asked, not to who asks or whether anybody may."""
    return isinstance(error, Refused | ContentRejected | ServerFault) or error.code in _NOT_SUPPORTED


def _whole(checksum: Checksum, content: bytes) -> str:
    """The value of an object that was sent as this one part."""
    return checksum.whole([(checksum.of(content), len(content))])
