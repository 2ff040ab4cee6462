"""What a store supports, as `check --probe` found it, and the settings that follow. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.finding import Finding, Level, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Answer", "Proof", "Support", "findings_of"]


class Proof(Enum):
    """What the checksum in a store's answer is worth."""

    GIVEN = "proven"  # computed of the bytes that arrived, and told
    MISSING = "not told"
    WRONG = "another than that of the bytes"
    WORTHLESS = "told back without a look at the bytes"
    REFUSED = "refused"


class Answer(Enum):
    YES = "yes"
    NO = "no"
    DENIED = "not allowed"  # to these credentials
    UNKNOWN = "cannot be told"


@dataclass(frozen=True, slots=True)
class Support:
    """`whole` and `parts` are by the name of the checksum: of one PUT, and of an upload in parts.

    `keeps_existing`: If-None-Match is honoured. `takes_unsigned`: what uploads to this address rely on;
    YES also where they sign the payload anyway.
    """

    whole: Mapping[str, Proof] = field(default_factory=dict)
    parts: Mapping[str, Proof] = field(default_factory=dict)
    keeps_existing: Answer = Answer.UNKNOWN
    takes_unsigned: Answer = Answer.UNKNOWN
    lists_parts: Answer = Answer.UNKNOWN
    aborts: Answer = Answer.UNKNOWN

    def proves(self, checksum: str) -> bool:
        """Files of every size."""
        return self.whole.get(checksum) is Proof.GIVEN and self.parts.get(checksum) is Proof.GIVEN

    @property
    def best(self) -> str:
        """The checksum to use: one that proves files of every size, else small ones; empty if none does."""
        all_sizes = [name for name in self.whole if self.proves(name)]
        small = [name for name, proof in self.whole.items() if proof is Proof.GIVEN]
        return next(iter([*all_sizes, *small]), "")


def findings_of(
    support: Support, *, area: str, checksum: str = "crc64nvme", on_existing: str = "overwrite"
) -> Iterator[Finding]:
    """One finding for each thing that was asked, given the rule's settings."""
    if support.takes_unsigned is Answer.NO:
        yield _set(
            fail(area, "a payload that is not signed is refused", "", of_destination=True),
            SignPayload="always",
        )
    if support.whole:
        yield _proofs(support, area, checksum)
    yield from _existing(support, area, on_existing)
    if support.lists_parts in (Answer.NO, Answer.DENIED):
        yield warn(
            area,
            f"a large file begins anew after a restart: listing its parts is {_refused(support.lists_parts)}",
            "Allow s3:ListMultipartUploadParts, if the store knows it.",
        )
    if support.aborts in (Answer.NO, Answer.DENIED):
        yield warn(
            area,
            f"parts of a file that changed stay in the bucket: aborting is {_refused(support.aborts)}",
            "Allow s3:AbortMultipartUpload, or have the bucket's lifecycle abort unfinished uploads.",
        )


def _proofs(support: Support, area: str, checksum: str) -> Finding:
    told = "; ".join(
        f"{name}: small files {_proof(support.whole.get(name))}, large files {_proof(support.parts.get(name))}"
        for name in support.whole
    )
    best = support.best
    if support.proves(checksum) or (checksum == "off" and not best):
        return _set(ok(area, f"checksums: {told}"), ChecksumAlgorithm=checksum)
    if checksum == "off":
        return _set(
            warn(area, f"checksums: {told}; the store can prove more than sizes", ""), ChecksumAlgorithm=best
        )
    if not best:
        finding = fail(
            area,
            f"no checksum proves what is stored, so nothing leaves this machine's disk ({told})",
            "Use another store. ChecksumAlgorithm: off compares sizes alone, and removes files unproven.",
            of_destination=True,
        )
        return Finding(finding.level, area, finding.text, finding.advice, True, {"ChecksumAlgorithm": "off"})
    if best == checksum:
        return fail(
            area,
            f"files above 16 MiB are not proven, and stay ({told})",
            "Use another store for them, or keep files smaller.",
            of_destination=True,
        )
    partly = "" if support.proves(best) else "; files above 16 MiB stay unproven even so"
    finding = fail(
        area, f"{checksum} does not prove what is stored{partly} ({told})", "", of_destination=True
    )
    return _set(finding, ChecksumAlgorithm=best)


def _existing(support: Support, area: str, on_existing: str) -> Iterator[Finding]:
    if support.keeps_existing is Answer.YES:
        yield ok(area, "an object is not replaced where that is asked: OnExisting may be skip or rename")
    elif support.keeps_existing is Answer.NO:
        text = "an object is replaced even where the request asks not to (If-None-Match)"
        finding = ok(area, text) if on_existing == "overwrite" else fail(area, text, "", of_destination=True)
        yield _set(finding, OnExisting="overwrite")


def _set(finding: Finding, **settings: str) -> Finding:
    """The finding with settings that are suggested; they are its advice where there is something to change."""
    listed = ", ".join(f"{name}: {value}" for name, value in settings.items())
    advice = finding.advice or ("" if finding.level is Level.OK else f"Set {listed}.")
    return Finding(finding.level, finding.area, finding.text, advice, finding.of_destination, settings)


def _proof(proof: Proof | None) -> str:
    return "not asked" if proof is None else proof.value


def _refused(answer: Answer) -> str:
    return "not allowed" if answer is Answer.DENIED else "not supported"
