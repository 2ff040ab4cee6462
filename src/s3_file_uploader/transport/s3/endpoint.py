"""Where a bucket lives: from settings to host, port, Host header and request path.

Pure: it resolves no name and opens no socket or file. Settings that can never work are refused here,
with a `ConfigurationError` that names the key, so that they never look like a network fault later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.s3.aws_variants import ORDINARY, AccessPoint, Variant
from s3_file_uploader.transport.s3.sigv4 import ALL_REGIONS, encode_key

__all__ = ["Endpoint"]


# Longest prefix first; every other region is in the commercial or the GovCloud partition, whose
# hosts share one suffix.
_PARTITION_SUFFIXES = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
)
_COMMERCIAL_SUFFIX = "amazonaws.com"
_AWS_HOST = re.compile(r"(^|\.)(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu)$")
_AWS_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_REGION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_AWS_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_HOST_LABELS = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REGION_OF_OTHER_STORES = "us-east-1"  # what S3-compatible stores expect in a signature by default
_LONGEST_BUCKET = 255


class _Address(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One bucket at one address, as requests need it.

    `host` is what to connect to and what the certificate must name (no brackets, no port);
    `host_header` is what to send and sign. `prefix` is the encoded path before the key, without a
    slash at its end: the path of the endpoint's URL, then the bucket if it is in the path.
    """

    bucket: str
    region: str
    scheme: str
    host: str
    port: int
    host_header: str
    prefix: str
    path_style: bool
    ca_bundle: str = ""

    @classmethod
    def of(
        cls,
        bucket: str,
        region: str,
        endpoint_url: str = "",
        path_style: str | bool = "auto",
        ca_bundle: str = "",
        *,
        variant: Variant = ORDINARY,
    ) -> Endpoint:
        """The endpoint that the settings describe; ConfigurationError if they cannot work."""
        variant.check(bucket, endpoint_url, path_style)
        if bucket.startswith("arn:"):
            if endpoint_url or path_style is True or variant.accelerate:
                raise ConfigurationError(
                    f"BucketName {bucket!r} is an access point, which has an address of its own",
                    advice="Leave out EndpointUrl, PathStyle and UseAccelerate, or give the bucket's name.",
                )
            return cls._of_access_point(bucket, ca_bundle, variant)
        _check_bucket(bucket, is_aws=not endpoint_url)
        if region and not _REGION.fullmatch(region):
            raise ConfigurationError(f"Region {region!r} is not the name of a region, such as eu-central-1")
        address = _parse(endpoint_url) if endpoint_url else _aws_address(region, variant)
        is_aws = bool(_AWS_HOST.search(address.host))
        if is_aws and not region:
            raise ConfigurationError(
                "Region is not set", advice="Set Region (--region, AWS_REGION) to the region of the bucket."
            )
        in_path = _bucket_in_path(bucket, address, path_style, is_aws=is_aws or not endpoint_url)
        host = address.host if in_path else f"{bucket}.{address.host}"
        return cls(
            bucket=bucket,
            region=region or _REGION_OF_OTHER_STORES,
            scheme=address.scheme,
            host=host,
            port=address.port,
            host_header=_host_header(address._replace(host=host)),
            prefix=address.path + ("/" + quote(bucket, safe="-_.~") if in_path else ""),
            path_style=in_path,
            ca_bundle=ca_bundle,
        )

    @classmethod
    def _of_access_point(cls, arn: str, ca_bundle: str, variant: Variant) -> Endpoint:
        point = AccessPoint.of(arn)
        if not point.region and (variant.fips or variant.dual_stack):
            raise ConfigurationError(
                f"BucketName {arn!r} is a multi-region access point, which has one address only",
                advice="Leave out UseFips and UseDualStack.",
            )
        service = "s3-accesspoint" + ("-fips" if variant.fips else "")
        middle = ".dualstack" if variant.dual_stack else ""
        host = f"{point.name}-{point.account}.{service}{middle}.{point.region}.{_suffix(point.region)}"
        if not point.region:
            host = f"{point.name}.accesspoint.s3-global.{_COMMERCIAL_SUFFIX}"
        return cls(
            bucket=arn,
            region=point.region or ALL_REGIONS,
            scheme="https",
            host=host,
            port=443,
            host_header=host,
            prefix="",
            path_style=False,
            ca_bundle=ca_bundle,
        )

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to."""
        return self.host, self.port

    @property
    def is_aws(self) -> bool:
        """Whether it is one of AWS's own addresses."""
        return _AWS_HOST.search(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """True where bytes never leave the machine, as far as the name tells."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        return _is_address(self.host) and ip_address(self.host).is_loopback

    def target(self, key: str) -> str:
        """The request path of a key, percent-encoded once; of the bucket itself for an empty key."""
        if not key:
            return self.prefix or "/"
        return f"{self.prefix}/{encode_key(key)}"

    def in_region(self, region: str) -> Endpoint | None:
        """The same bucket as AWS has it in another region; None where that is not certain.

        A name of a bucket means the same bucket in all regions of a partition, and nowhere else: so only
        AWS's own addresses are changed, and only the region in them. Not those of one network (`vpce`).
        """
        front = "" if self.path_style else f"{self.bucket}."
        labels = self.host.removeprefix(front).split(".")
        if (
            not self.is_aws
            or not _AWS_REGION.fullmatch(region)
            or _suffix(region) != _suffix(self.region)
            or self.bucket.startswith("arn:")
            or "vpce" in labels
        ):
            return None
        host = front + ".".join(region if label == self.region else label for label in labels)
        header = _host_header(_Address(self.scheme, host, self.port, ""))
        return replace(self, region=region, host=host, host_header=header)

    def describe(self) -> str:
        """For logs and messages; holds no secret, because URLs with a user part are refused."""
        style = "path style" if self.path_style else "virtual-hosted"
        url = f"{self.scheme}://{self.host_header}{self.prefix}"
        return f"{url} (bucket {self.bucket}, region {self.region}, {style})"


def _aws_address(region: str, variant: Variant) -> _Address:
    if not region:
        raise ConfigurationError(
            "Region is not set",
            advice="Set Region (--region, AWS_REGION) to the region of the bucket,"
            " or EndpointUrl for a store that is not AWS.",
        )
    middle = ".dualstack" if variant.dual_stack else ""
    if variant.accelerate:
        return _Address("https", f"s3-accelerate{middle}.{_suffix(region)}", 443, "")
    service = "s3-fips" if variant.fips else "s3"
    return _Address("https", f"{service}{middle}.{region}.{_suffix(region)}", 443, "")


def _suffix(region: str) -> str:
    found = (suffix for prefix, suffix in _PARTITION_SUFFIXES if region.startswith(prefix))
    return next(found, _COMMERCIAL_SUFFIX)


def _parse(url: str) -> _Address:
    # Until it is known to hold no user part, the URL itself stays out of the message.
    if any(character.isspace() or not character.isprintable() for character in url):
        raise _bad_url("it contains white space or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad_url(str(error) if "@" not in url else "it is malformed") from None
    if "@" in parts.netloc:
        raise _bad_url("it must not contain a user name or password; credentials come from the chain")
    if parts.scheme not in _DEFAULT_PORTS:
        raise _bad_url(f"{url!r} must start with https:// or http://" if "@" not in url else "bad scheme")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise _bad_url("it must not contain a query (?) or a fragment (#)")
    if port == 0:
        raise _bad_url("port 0 cannot be connected to")
    path = quote(parts.path.rstrip("/"), safe="/-_.~%")
    return _Address(parts.scheme, _host_of(parts), port or _DEFAULT_PORTS[parts.scheme], path)


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if _is_address(host):
        return host
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise _bad_url(f"{host!r} is not a host name") from None
    if not _HOST.fullmatch(host) or ".." in host:
        raise _bad_url(f"{host!r} is not a host name" if host else "it names no host")
    return host


def _bad_url(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"EndpointUrl cannot be used: {reason}",
        advice="EndpointUrl looks like https://s3.example.com or http://127.0.0.1:8333.",
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _host_header(address: _Address) -> str:
    # An IPv6 zone (fe80::1%eth0) is this machine's affair and must not be sent.
    host = f"[{address.host.partition('%')[0]}]" if ":" in address.host else address.host
    return host if address.port == _DEFAULT_PORTS[address.scheme] else f"{host}:{address.port}"


def _bucket_in_path(bucket: str, address: _Address, path_style: str | bool, *, is_aws: bool) -> bool:
    can_be_host = bool(_HOST_LABELS.fullmatch(bucket)) and not _is_address(address.host)
    if path_style is True:
        return True
    if path_style is False:
        if not can_be_host:
            raise ConfigurationError(
                f"PathStyle false needs a host name that bucket {bucket!r} can be put in front of,"
                f" which {address.host!r} does not allow",
                advice="Set PathStyle to true or leave it at auto.",
            )
        return False
    if path_style != "auto":
        raise ConfigurationError(f"PathStyle is {path_style!r}; allowed are auto, true and false")
    # A wildcard certificate covers one label: a bucket with dots would fail every TLS handshake.
    has_certificate = address.scheme == "http" or "." not in bucket
    return not (is_aws and can_be_host and has_certificate)


def _check_bucket(bucket: str, *, is_aws: bool) -> None:
    """Strict only where AWS's own rules are known to hold; other stores take more."""
    if not bucket:
        raise ConfigurationError("BucketName is empty")
    if bucket.endswith("--x-s3") and is_aws:
        raise ConfigurationError(
            f"BucketName {bucket!r} is a directory bucket (S3 Express One Zone), which cannot be used",
            advice="Use a general purpose bucket.",
        )
    is_odd = (
        bucket in (".", "..")
        or len(bucket) > _LONGEST_BUCKET
        or not bucket.isascii()
        or not bucket.isprintable()
        or any(character in " /\\?#%*\"'<>{}|^`" for character in bucket)
    )
    if is_odd or (is_aws and not _AWS_BUCKET.fullmatch(bucket)):
        raise ConfigurationError(
            f"BucketName {bucket!r} is not the name of a bucket",
            advice="Give the name alone, without s3:// and without a prefix (that is ObjectKeyPrefix);"
            " on AWS it has 3 to 63 lower-case letters, digits, hyphens and dots.",
        )
