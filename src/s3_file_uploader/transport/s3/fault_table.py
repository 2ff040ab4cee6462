"""S3's words and the engine's own errors: what each code and status stands for, row by row.

A new code is one row here. The classes are the engine's refinements of the error tree; outside the
engine only their public parents count. `faults` applies the table and says why a row is as it is.
"""

from __future__ import annotations

from typing import NamedTuple

from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    DeliveryError,
    Misconfigured,
    Refused,
    Throttled,
    TransferFault,
    Unproven,
    Unreachable,
)

__all__ = [
    "BY_CODE",
    "BY_STATUS",
    "ClockSkewed",
    "ContentRejected",
    "CredentialsExpired",
    "CredentialsRefused",
    "Row",
    "ServerFault",
    "SignatureRefused",
    "UploadGone",
    "WrongRegion",
]


class ServerFault(TransferFault):
    """The store failed on this request by its own account (5xx)."""


class UploadGone(TransferFault):
    """The multipart upload (or a part of it) is not there any more: start it anew."""

    advice = "Nothing to do: the file is sent again from its start."


class ContentRejected(Unproven):
    """The store says that what arrived is not what was announced.

    The file may have changed while it was sent: ask `check_unchanged()` first. If it did not, bytes
    were damaged on the way or in memory, or the store computes checksums wrongly; only the first kind
    is cured by sending again, so it is parked after MaxAttempts.
    """

    advice = "If it goes on, something between here and the store (or bad memory) alters the bytes."


class CredentialsExpired(Misconfigured):
    """The token is too old. Ask the credential source for new ones; no file's fault."""

    retryable = True
    advice = "Nothing to do if the credentials renew themselves; otherwise give new ones."


class CredentialsRefused(Misconfigured):
    """The store does not know these credentials. They may have been replaced: worth one refresh."""

    advice = "Check the access key (environment, Profile, device role); `s3-file-uploader check` tests it."


class SignatureRefused(AccessDenied):
    """The signature does not match: a wrong secret key, or a key the store decodes differently."""

    advice = (
        "If all files fail, the secret access key or the Region is wrong, or a proxy changes requests;"
        " if only this one does, the store cannot take its name: rename it or set KeyEscape."
    )


class WrongRegion(Misconfigured):
    """The bucket is in another region, `region` if the store named it."""

    def __init__(self, message: str, *, advice: str = "", code: str = "", region: str = "") -> None:
        super().__init__(message, advice=advice, code=code)
        self.region = region


class ClockSkewed(Misconfigured):
    """The device's clock is too far from the store's.

    `offset_seconds` is what to add to the device's clock, None if it could not be told.
    """

    retryable = True
    advice = "Set the device's clock (NTP); uploads go on with the store's time where it tells it."

    def __init__(self, message: str, *, code: str = "", offset_seconds: float | None = None) -> None:
        super().__init__(message, code=code)
        self.offset_seconds = offset_seconds


class Row(NamedTuple):
    """What a code or status stands for."""

    kind: type[DeliveryError]
    advice: str = ""  # empty: the class's own


_BUCKET_ADVICE = "Create the bucket, or correct BucketName, Region or EndpointUrl."
_TOO_LARGE_ADVICE = "The store (or a proxy before it) takes nothing of this size: raise its limit."
_ENDPOINT_ADVICE = "EndpointUrl does not seem to be the S3 address of the store: correct it."
_SETTING_ADVICE = "The store does not support a setting in use: read its words, then change the setting."
_FULL_ADVICE = "The store is full or over its quota: make room there; uploads go on by themselves."
_NAME_ADVICE = "The store takes no such name: rename the file, shorten ObjectKeyPrefix or set KeyEscape."
_PAIR_ADVICE = "The session token does not fit the access key: give both anew."
_ACCOUNT_ADVICE = "Look at the state of the account that owns the bucket."
_KEY_ADVICE = "Look at the KMS key of the bucket: its state, its policy and its region."

BY_CODE: dict[str, Row] = {
    # Everyone slows down.
    "SlowDown": Row(Throttled),
    "SlowDownRead": Row(Throttled),
    "SlowDownWrite": Row(Throttled),
    "ServiceUnavailable": Row(Throttled),
    "Throttling": Row(Throttled),
    "ThrottlingException": Row(Throttled),
    "ThrottledException": Row(Throttled),
    "KMS.ThrottlingException": Row(Throttled),
    "RequestThrottled": Row(Throttled),
    "RequestThrottledException": Row(Throttled),
    "RequestLimitExceeded": Row(Throttled),
    "TooManyRequests": Row(Throttled),
    "TooManyRequestsException": Row(Throttled),
    "BandwidthLimitExceeded": Row(Throttled),
    # Broke on the way.
    "InternalError": Row(ServerFault),
    "InternalFailure": Row(ServerFault),
    "RequestTimeout": Row(TransferFault),
    "RequestTimeoutException": Row(TransferFault),
    "IncompleteBody": Row(TransferFault),
    "OperationAborted": Row(TransferFault),
    "ClientDisconnected": Row(TransferFault),
    # Not the bytes that were announced.
    "BadDigest": Row(ContentRejected),
    "XAmzContentChecksumMismatch": Row(ContentRejected),
    "XAmzContentSHA256Mismatch": Row(ContentRejected),
    # The multipart upload.
    "NoSuchUpload": Row(UploadGone),
    "InvalidPart": Row(UploadGone),
    "InvalidPartOrder": Row(UploadGone),
    # Somebody else wrote the object meanwhile: S3 wants all of an upload in parts once more.
    "ConditionalRequestConflict": Row(UploadGone),
    # Credentials and signature.
    "ExpiredToken": Row(CredentialsExpired),
    "ExpiredTokenException": Row(CredentialsExpired),
    "TokenRefreshRequired": Row(CredentialsExpired),
    "RequestExpired": Row(CredentialsExpired),
    "InvalidToken": Row(CredentialsRefused, "The session token does not fit the access key: give both anew."),
    "InvalidClientTokenId": Row(CredentialsRefused),
    "UnrecognizedClientException": Row(CredentialsRefused),
    "InvalidAccessKeyId": Row(CredentialsRefused),
    "SignatureDoesNotMatch": Row(SignatureRefused),
    "MissingSecurityHeader": Row(Misconfigured, _ENDPOINT_ADVICE),
    # Access.
    "AccessDenied": Row(AccessDenied),
    "AccessDeniedException": Row(AccessDenied),
    "KMS.DisabledException": Row(AccessDenied, _KEY_ADVICE),
    "KMS.InvalidStateException": Row(AccessDenied, _KEY_ADVICE),
    "KMS.KMSInvalidStateException": Row(AccessDenied, _KEY_ADVICE),
    "KMS.InvalidKeyUsageException": Row(AccessDenied, _KEY_ADVICE),
    "KMS.NotFoundException": Row(AccessDenied, _KEY_ADVICE),
    "AllAccessDisabled": Row(Misconfigured, _ACCOUNT_ADVICE),
    "AccountProblem": Row(Misconfigured, _ACCOUNT_ADVICE),
    "NotSignedUp": Row(Misconfigured, _ACCOUNT_ADVICE),
    "InvalidPayer": Row(Misconfigured, _ACCOUNT_ADVICE),
    # The destination as configured.
    "NoSuchBucket": Row(Misconfigured, _BUCKET_ADVICE),
    "InvalidBucketName": Row(Misconfigured, _BUCKET_ADVICE),
    "InvalidBucketState": Row(Misconfigured, _BUCKET_ADVICE),
    "MethodNotAllowed": Row(Misconfigured, _ENDPOINT_ADVICE),
    "NotImplemented": Row(Misconfigured, _SETTING_ADVICE),
    "InvalidStorageClass": Row(Misconfigured, _SETTING_ADVICE),
    "InvalidEncryptionAlgorithmError": Row(Misconfigured, _SETTING_ADVICE),
    "ServerSideEncryptionConfigurationNotFoundError": Row(Misconfigured, _SETTING_ADVICE),
    "AccessControlListNotSupported": Row(Misconfigured, _SETTING_ADVICE),
    "UnresolvableGrantByEmailAddress": Row(Misconfigured, _SETTING_ADVICE),
    # Full.
    "QuotaExceeded": Row(Unreachable, _FULL_ADVICE),
    "InsufficientStorage": Row(Unreachable, _FULL_ADVICE),
    "XMinioStorageFull": Row(Unreachable, _FULL_ADVICE),
    "XMinioAdminBucketQuotaExceeded": Row(Unreachable, _FULL_ADVICE),
    # This object.
    "PreconditionFailed": Row(AlreadyExists),
    "EntityTooLarge": Row(Refused, _TOO_LARGE_ADVICE),
    "MaxMessageLengthExceeded": Row(Refused, _TOO_LARGE_ADVICE),
    "KeyTooLong": Row(Refused, _NAME_ADVICE),
    "KeyTooLongError": Row(Refused, _NAME_ADVICE),
    "InvalidURI": Row(Refused, _NAME_ADVICE),
    "InvalidObjectName": Row(Refused, _NAME_ADVICE),
    "XMinioInvalidObjectName": Row(Refused, _NAME_ADVICE),
    "ParentIsFile": Row(Refused, _NAME_ADVICE),
    "XMinioParentIsObject": Row(Refused, _NAME_ADVICE),
    "InvalidDigest": Row(Refused, _SETTING_ADVICE),
    "InvalidRequest": Row(Refused, _SETTING_ADVICE),
    "InvalidArgument": Row(Refused, _SETTING_ADVICE),
}

# Where the store gave no code that we know: HEAD answers, proxies, other stores.
BY_STATUS: dict[int, Row] = {
    401: Row(CredentialsRefused),
    403: Row(AccessDenied),
    404: Row(Misconfigured, _BUCKET_ADVICE),
    405: Row(Misconfigured, _ENDPOINT_ADVICE),
    407: Row(
        Misconfigured, "The proxy wants a login: put user:password@ into http_proxy of the environment."
    ),
    408: Row(TransferFault),
    409: Row(TransferFault),
    411: Row(Misconfigured, _ENDPOINT_ADVICE),
    412: Row(AlreadyExists),
    413: Row(Refused, _TOO_LARGE_ADVICE),
    414: Row(Refused, _NAME_ADVICE),
    417: Row(TransferFault),
    421: Row(TransferFault),
    425: Row(TransferFault),
    429: Row(Throttled),
    500: Row(ServerFault),
    501: Row(Misconfigured, _SETTING_ADVICE),
    502: Row(ServerFault),
    503: Row(Throttled),
    504: Row(ServerFault),
    505: Row(Misconfigured, _ENDPOINT_ADVICE),
    507: Row(Unreachable, _FULL_ADVICE),
    509: Row(Throttled),
    511: Row(Unreachable, "The network wants a login (a captive portal): log in, or use another network."),
}
