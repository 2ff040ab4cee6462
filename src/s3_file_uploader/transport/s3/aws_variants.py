"""The other addresses of AWS: dual-stack, FIPS, acceleration, and access points by their ARN.

Pure. What AWS has no address for, or what we cannot sign, is refused with the reason.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from s3_file_uploader.errors import ConfigurationError

__all__ = ["ORDINARY", "AccessPoint", "Variant"]

_POINT = re.compile(
    r"arn:aws[a-z-]*:s3:([a-z0-9-]*):([0-9]{12}):accesspoint[:/]([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])"
)
_MULTI_REGION = ".mrap"
_ALIAS_ADVICE = (
    "Give the name of a bucket, its alias, or arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME;"
    " arn:aws:s3::ACCOUNT:accesspoint/ALIAS.mrap for one of many regions."
)


class Variant(NamedTuple):
    """Which of AWS's addresses to take."""

    dual_stack: bool = False
    fips: bool = False
    accelerate: bool = False

    def check(self, bucket: str, endpoint_url: str, path_style: str | bool) -> None:
        """ConfigurationError where AWS has no such address."""
        chosen = [
            name
            for name, is_set in zip(("UseDualStack", "UseFips", "UseAccelerate"), self, strict=True)
            if is_set
        ]
        if chosen and endpoint_url:
            raise ConfigurationError(
                f"{chosen[0]} chooses one of AWS's addresses, and EndpointUrl is {endpoint_url!r}",
                advice=f"Leave out EndpointUrl, or {chosen[0]} (also in the environment).",
            )
        if not self.accelerate:
            return
        if self.fips:
            raise ConfigurationError("UseAccelerate and UseFips exclude each other: give one")
        if path_style is True:
            raise ConfigurationError("UseAccelerate needs the bucket in the host name: PathStyle is true")
        if "." in bucket:
            raise ConfigurationError(
                f"UseAccelerate takes no bucket with a dot in its name, as {bucket!r} has"
            )


ORDINARY = Variant()


class AccessPoint(NamedTuple):
    """An access point, from its ARN. `region` is empty for one of many regions."""

    region: str
    account: str
    name: str

    @classmethod
    def of(cls, arn: str) -> AccessPoint:
        """ConfigurationError for ARNs of other things."""
        refusal = _refusal(arn)
        if refusal:
            raise ConfigurationError(f"BucketName {arn!r} {refusal}", advice=_ALIAS_ADVICE)
        found = _POINT.fullmatch(arn)
        if found is None:
            raise ConfigurationError(
                f"BucketName {arn!r} is not the ARN of an access point", advice=_ALIAS_ADVICE
            )
        region, account, name = found.groups()
        if bool(region) == name.endswith(_MULTI_REGION):
            raise ConfigurationError(
                f"BucketName {arn!r} names a region, or is a multi-region access point: one of both",
                advice=_ALIAS_ADVICE,
            )
        if "." in name.removesuffix(_MULTI_REGION):
            raise ConfigurationError(f"BucketName {arn!r} names no access point: a name holds no dot")
        return cls(region, account, name)


def _refusal(arn: str) -> str:
    service = [*arn.split(":"), "", "", ""][2]
    if service == "s3-outposts":
        return "is a bucket or access point on Outposts, which cannot be used"
    if service == "s3-object-lambda":
        return "is an Object Lambda access point, which takes no uploads"
    if service == "s3" and ":accesspoint" not in arn:
        return "is the ARN of a bucket: give its name alone"
    return ""
