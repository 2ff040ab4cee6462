"""The errors of the program: one small tree, drawn here.

    UploaderError                       everything we raise on purpose; carries what to try
    ├── ConfigurationError              a setting or argument is wrong                      exit 2
    ├── LedgerError                     the ledger cannot be used
    │   ├── LedgerCorrupt
    │   ├── LedgerNewer                 written by a newer version
    │   ├── LedgerUnavailable           its disk is full, or refuses: a running daemon waits for it
    │   └── LedgerBusy                  another process holds it
    ├── NucleusError                    the Greengrass nucleus that started us
    │   ├── NucleusLost                 its IPC is gone: only a new start gets a new connection
    │   ├── NucleusSilent               it does not answer in time
    │   └── NucleusRefuses              it says no, or does not know the question
    ├── RemovalFailed                   a delivered file could not be removed; it stays, and is never re-sent
    └── DeliveryError                   one delivery did not end with a receipt
        ├── FileChanged                 FILE         settles again; not a failure
        ├── FileBusy                    FILE         a writer has it open, or no evidence yet; settles again
        ├── FileVanished                FILE         gone; not a failure
        ├── FileUnreadable              FILE         permission, I/O error: retried slowly
        ├── TransferFault               FILE         broke on the way: transient, retried without end
        ├── Refused                     FILE         the far side said no: parked after MaxAttempts
        │   ├── KeyProblem              FILE         its name cannot become an object name: parked at once
        │   └── AlreadyExists           FILE         another object has its name: parked at once, or named anew
        ├── Unproven                    FILE         no or wrong checksum echo: parked after MaxAttempts
        ├── AccessDenied                UNCERTAIN    one object or the destination? probed with another file
        ├── Throttled                   DESTINATION  everyone slows down
        ├── Unreachable                 DESTINATION  network, DNS, TLS, 5xx of the whole service
        ├── Misconfigured               DESTINATION  bucket, region, credentials: a person must act
        └── Interrupted                 PROCESS      we are stopping; never a failure

Each class of DeliveryError answers three questions: is it retryable (`retryable`: True means without
end, False means MaxAttempts), what does it concern (`concern`), what should a person do (`advice`).
An error that concerns the destination or the process never burns a file's attempts.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from s3_file_uploader.model import Fingerprint

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "Concern",
    "ConfigurationError",
    "DeliveryError",
    "FileBusy",
    "FileChanged",
    "FileUnreadable",
    "FileVanished",
    "Interrupted",
    "KeyProblem",
    "LedgerBusy",
    "LedgerCorrupt",
    "LedgerError",
    "LedgerNewer",
    "LedgerUnavailable",
    "Misconfigured",
    "NucleusError",
    "NucleusLost",
    "NucleusRefuses",
    "NucleusSilent",
    "Refused",
    "RemovalFailed",
    "Throttled",
    "TransferFault",
    "Unproven",
    "Unreachable",
    "UploaderError",
]


class UploaderError(Exception):
    """What went wrong (`str(error)`) and what a person can try (`error.advice`)."""

    advice: str = ""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        if advice:
            self.advice = advice


class ConfigurationError(UploaderError):
    """A setting, flag or argument is wrong: the message names it, its value and what is allowed."""

    advice = "`s3-file-uploader config show` prints what is in force and where each value came from."


class LedgerError(UploaderError):
    """The ledger cannot be used."""


class LedgerCorrupt(LedgerError):
    """SQLite or our own checks say the database is damaged."""


class LedgerNewer(LedgerError):
    """The ledger was written by a newer version of this program."""


class LedgerUnavailable(LedgerError):
    """The disk below the ledger is full, read-only or failing: it may take writes again later."""

    advice = "Look at the free space, the mount and the permissions of the ledger's folder."


class LedgerBusy(LedgerError):
    """Another process holds the ledger; the message names it."""


class NucleusError(UploaderError):
    """The Greengrass nucleus did not do what it was asked."""

    advice = "Look at the nucleus's own log; it starts the component again by itself."


class NucleusLost(NucleusError):
    """The connection to the nucleus is gone, and its token is good for no other."""


class NucleusSilent(NucleusError):
    """The nucleus does not answer in time."""


class NucleusRefuses(NucleusError):
    """The nucleus says no. `code` is the name of its error (`UnauthorizedError`, `ServiceError`)."""

    def __init__(self, message: str, *, code: str, advice: str = "") -> None:
        super().__init__(message, advice=advice)
        self.code = code


class RemovalFailed(UploaderError):
    """The system refused to remove or archive a delivered file; it keeps its name and is tried again slowly.

    `advice` names the missing right. `fingerprint` is that of the file as it now stands under its own
    name, when that is known: hiding it and putting it back changes its ctime and nothing else.
    """

    fingerprint: Fingerprint | None = None

    advice = "`s3-file-uploader check` says which rights are missing."


class Concern(Enum):
    """What a failed delivery is about."""

    FILE = "file"
    DESTINATION = "destination"
    UNCERTAIN = "uncertain"  # this object or the destination: only another delivery can tell
    PROCESS = "process"


class DeliveryError(UploaderError):
    """One delivery ended without a receipt. `code` is the far side's own word (`NoSuchBucket`, `503`).

    `retry_after_seconds` is what the far side asked for, or 0.
    """

    retryable: ClassVar[bool] = True
    concern: ClassVar[Concern] = Concern.FILE

    def __init__(
        self, message: str, *, advice: str = "", code: str = "", retry_after_seconds: float = 0.0
    ) -> None:
        super().__init__(message, advice=advice)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class FileChanged(DeliveryError):
    """The file is no longer the one that was claimed: it settles again and is sent anew.

    `only_device`: nothing but the device number differs, as after a reboot: hash again, do not send again.
    """

    only_device: bool = False


class FileBusy(DeliveryError):
    """Some process has the file open for writing (`writer_seen`), or nothing proves that none has."""

    def __init__(self, message: str, *, writer_seen: bool) -> None:
        super().__init__(message)
        self.writer_seen = writer_seen


class FileVanished(DeliveryError):
    """Somebody else removed or renamed the file."""


class FileUnreadable(DeliveryError):
    """The file exists and cannot be read."""

    advice = "Give the user that runs s3-file-uploader read permission on the file, or check the disk."


class TransferFault(DeliveryError):
    """The transfer broke on the way; sent again."""

    advice = "Nothing to do: it is sent again. If it goes on, look at the network and the store."


class Refused(DeliveryError):
    """The far side understood the request and said no."""

    retryable = False
    advice = "Read the reason, mend its cause, then `s3-file-uploader retry FILE`."


class KeyProblem(Refused):
    """The file's name cannot become an object name; nothing was asked of the far side."""

    advice = "Rename the file, or change KeyEscape or ObjectKeyPrefix."


class AlreadyExists(Refused):
    """An object of that name is there, holds something else, and must not be replaced."""

    advice = "Remove or rename that object or the file, or set OnExisting to rename."


class Unproven(DeliveryError):
    """The far side took the bytes and did not prove that it holds these very bytes."""

    retryable = False
    advice = "The store must echo the checksum; `s3-file-uploader check` says what it supports."


class AccessDenied(DeliveryError):
    """403: of this object (KMS key, object lock, policy) or of the whole destination."""

    retryable = False
    concern = Concern.UNCERTAIN
    advice = (
        "Allow s3:PutObject on the bucket and prefix (and the KMS key, if one is set) for these credentials."
    )


class Throttled(DeliveryError):
    """The store asks everyone to slow down."""

    concern = Concern.DESTINATION
    advice = "Nothing to do: uploads slow down and go on."


class Unreachable(DeliveryError):
    """No connection, no name, no TLS, or the service as a whole is down."""

    concern = Concern.DESTINATION
    advice = "Look at the network, the endpoint and the proxy; uploads go on by themselves once it answers."


class Misconfigured(DeliveryError):
    """The destination can never take anything as configured: a person must act."""

    retryable = False
    concern = Concern.DESTINATION
    advice = (
        "Look at BucketName, Region, EndpointUrl and the credentials; `s3-file-uploader check` tests each."
    )


class Interrupted(DeliveryError):
    """We are shutting down; the checkpoint is saved."""

    concern = Concern.PROCESS
