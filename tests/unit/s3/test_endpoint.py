from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.s3.aws_variants import Variant
from s3_file_uploader.transport.s3.endpoint import Endpoint


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "bucket.s3.us-east-1.amazonaws.com"),
        ("eu-central-1", "bucket.s3.eu-central-1.amazonaws.com"),
        ("cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "bucket.s3.us-gov-west-1.amazonaws.com"),
        ("us-iso-east-1", "bucket.s3.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "bucket.s3.us-isob-east-1.sc2s.sgov.gov"),
        ("eusc-de-east-1", "bucket.s3.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_without_a_url_the_bucket_is_in_the_host_of_its_region(region: str, host: str) -> None:
    endpoint = Endpoint.of("bucket", region)

    assert endpoint.address == (host, 443)
    assert endpoint.tls
    assert endpoint.host_header == host
    assert endpoint.target("a/b c.csv") == "/a/b%20c.csv"
    assert endpoint.target("") == "/"


def test_a_bucket_with_dots_stays_out_of_the_host_that_a_certificate_names() -> None:
    endpoint = Endpoint.of("my.bucket", "eu-central-1")

    assert endpoint.host == "s3.eu-central-1.amazonaws.com"
    assert endpoint.target("k") == "/my.bucket/k"


def test_path_style_can_be_asked_for_on_aws() -> None:
    assert Endpoint.of("bucket", "eu-central-1", path_style=True).target("k") == "/bucket/k"


@pytest.mark.parametrize(
    ("url", "address", "host_header", "target"),
    [
        ("http://127.0.0.1:8333", ("127.0.0.1", 8333), "127.0.0.1:8333", "/bucket/k"),
        ("http://store", ("store", 80), "store", "/bucket/k"),
        ("https://store:443/", ("store", 443), "store", "/bucket/k"),
        ("http://store:443", ("store", 443), "store:443", "/bucket/k"),
        ("https://STORE.example.com.", ("store.example.com.", 443), "store.example.com.", "/bucket/k"),
        ("https://store/s3/v1/", ("store", 443), "store", "/s3/v1/bucket/k"),
        ("http://[::1]:9000", ("::1", 9000), "[::1]:9000", "/bucket/k"),
        ("https://[2001:db8::5]", ("2001:db8::5", 443), "[2001:db8::5]", "/bucket/k"),
        ("http://[fe80::1%eth0]:80", ("fe80::1%eth0", 80), "[fe80::1]", "/bucket/k"),
        ("https://b\u00fccher.example", ("xn--bcher-kva.example", 443), "xn--bcher-kva.example", "/bucket/k"),
        ("https://my_minio:9000", ("my_minio", 9000), "my_minio:9000", "/bucket/k"),
    ],
)
def test_a_url_of_another_store_means_path_style(
    url: str, address: tuple[str, int], host_header: str, target: str
) -> None:
    endpoint = Endpoint.of("bucket", "", url)

    assert endpoint.address == address
    assert endpoint.host_header == host_header
    assert endpoint.target("k") == target
    assert endpoint.path_style
    assert endpoint.region == "us-east-1"


def test_a_url_of_another_store_can_be_virtual_hosted_by_choice() -> None:
    endpoint = Endpoint.of("bucket", "garage", "https://s3.example.com:3900/base", path_style=False)

    assert endpoint.address == ("bucket.s3.example.com", 3900)
    assert endpoint.host_header == "bucket.s3.example.com:3900"
    assert endpoint.target("k") == "/base/k"
    assert endpoint.region == "garage"


def test_a_url_of_aws_is_virtual_hosted_and_needs_a_region() -> None:
    url = "https://s3.dualstack.eu-west-1.amazonaws.com"

    assert Endpoint.of("bucket", "eu-west-1", url).host == "bucket.s3.dualstack.eu-west-1.amazonaws.com"
    with pytest.raises(ConfigurationError, match="Region is not set"):
        Endpoint.of("bucket", "", url)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "store",
        "ftp://store",
        "https://",
        "https:///path",
        "https://store:0",
        "https://store:99999",
        "https://store:port",
        "https://store?x=1",
        "https://store#x",
        "https://sto re",
        "https://store/s3/v 1/",
        "https://store\n",
        "https://[::1",
        "https://-store",
        "https://a..b",
        "s3://bucket",
    ],
)
def test_a_url_that_cannot_work_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="EndpointUrl"):
        Endpoint.of("bucket", "eu-central-1", url)


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@store", "user:hunter2@store", "https://u:hunter2@store:x"]
)
def test_a_password_in_a_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Endpoint.of("bucket", "eu-central-1", url)

    assert "hunter2" not in str(refusal.value) + refusal.value.advice


@pytest.mark.parametrize(
    "bucket",
    ["", "s3://bucket", "bucket/prefix", "a b", "Bucket", "my_bucket", "b", "a" * 64, "arn:aws:s3:x"],
)
def test_aws_takes_no_such_bucket_name(bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="BucketName"):
        Endpoint.of(bucket, "eu-central-1")


def test_a_directory_bucket_is_refused_with_its_reason() -> None:
    with pytest.raises(ConfigurationError, match="directory bucket"):
        Endpoint.of("data--euc1-az1--x-s3", "eu-central-1")


@pytest.mark.parametrize("bucket", ["B", "my_bucket", "tenant:bucket", "a" * 100])
def test_other_stores_take_other_bucket_names(bucket: str) -> None:
    assert Endpoint.of(bucket, "", "http://store").target("k").startswith("/")


@pytest.mark.parametrize("bucket", [".", "..", "a/b", "a?b", "a b", "\u00fc", "a" * 256])
def test_no_store_takes_a_bucket_name_that_breaks_a_path(bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="BucketName"):
        Endpoint.of(bucket, "", "http://store")


@pytest.mark.parametrize(("bucket", "url"), [("my_bucket", "http://store"), ("bucket", "http://127.0.0.1")])
def test_a_bucket_that_cannot_be_in_the_host_is_not_put_there(bucket: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match="PathStyle"):
        Endpoint.of(bucket, "", url, path_style=False)


def test_an_unknown_path_style_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="PathStyle"):
        Endpoint.of("bucket", "eu-central-1", path_style="sometimes")


def test_aws_without_a_region_is_refused_with_what_to_set() -> None:
    with pytest.raises(ConfigurationError, match="Region is not set") as refusal:
        Endpoint.of("bucket", "")

    assert "AWS_REGION" in refusal.value.advice


@pytest.mark.parametrize("region", ["eu central", "eu/x", "eu.central", "\u00fc"])
def test_a_region_that_would_break_a_host_name_is_refused(region: str) -> None:
    with pytest.raises(ConfigurationError, match="Region"):
        Endpoint.of("bucket", region)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8333", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://192.0.2.1", False),
        ("http://store", False),
    ],
)
def test_it_knows_what_never_leaves_the_machine(url: str, expected: bool) -> None:
    assert Endpoint.of("bucket", "", url).is_loopback is expected


def test_it_describes_itself_in_one_line() -> None:
    assert Endpoint.of("bucket", "eu-central-1").describe() == (
        "https://bucket.s3.eu-central-1.amazonaws.com (bucket bucket, region eu-central-1, virtual-hosted)"
    )
    assert "http://store/bucket (" in Endpoint.of("bucket", "", "http://store").describe()


@given(bucket=st.text(max_size=20), region=st.text(max_size=12), url=st.text(max_size=30))
def test_whatever_the_settings_hold_they_work_or_are_refused(bucket: str, region: str, url: str) -> None:
    for candidate in (url, f"https://{url}", f"http://{url}"):
        try:
            endpoint = Endpoint.of(bucket, region, candidate)
        except ConfigurationError:
            continue
        assert endpoint.host_header.isascii()
        assert endpoint.host_header.isprintable()
        assert endpoint.target("k").isascii()
        assert " " not in endpoint.host_header + endpoint.target("k")


@pytest.mark.parametrize(
    ("bucket", "url", "path_style", "host"),
    [
        ("bucket", "", "auto", "bucket.s3.eu-west-1.amazonaws.com"),
        ("us-east-1", "", "auto", "us-east-1.s3.eu-west-1.amazonaws.com"),
        ("bucket.us-east-1", "", "auto", "s3.eu-west-1.amazonaws.com"),
        (
            "bucket",
            "https://s3.dualstack.us-east-1.amazonaws.com",
            True,
            "s3.dualstack.eu-west-1.amazonaws.com",
        ),
        (
            "bucket",
            "https://s3-fips.us-east-1.amazonaws.com:443",
            "auto",
            "bucket.s3-fips.eu-west-1.amazonaws.com",
        ),
        ("bucket", "https://s3-accelerate.amazonaws.com", "auto", "bucket.s3-accelerate.amazonaws.com"),
        ("bucket", "https://s3.example.com", "auto", ""),
        ("bucket", "https://s3.us-east-1.amazonaws.com.example.com", "auto", ""),
        ("bucket", "https://vpce-1a.s3.us-east-1.vpce.amazonaws.com", "auto", ""),
    ],
)
def test_only_an_address_of_aws_has_a_like_in_another_region(
    bucket: str, url: str, path_style: str | bool, host: str
) -> None:
    moved = Endpoint.of(bucket, "us-east-1", url, path_style).in_region("eu-west-1")
    assert (moved.host if moved is not None else "") == host
    if moved is not None:
        assert (moved.host_header, moved.region) == (host, "eu-west-1")


@pytest.mark.parametrize(
    "region", ["", "EU", "cn-north-1", "eu-west-1.evil.example", "eu-west-1/", "us-iso-east-1"]
)
def test_a_region_that_is_none_or_of_another_partition_is_not_gone_to(region: str) -> None:
    assert Endpoint.of("bucket", "us-east-1").in_region(region) is None


# --- The other addresses of AWS ------------------------------------------------------------------------

DUAL, FIPS, FAST = Variant(dual_stack=True), Variant(fips=True), Variant(accelerate=True)
POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/cars"
MANY = "arn:aws:s3::123456789012:accesspoint/m1.mrap"


@pytest.mark.parametrize(
    ("region", "variant", "host"),
    [
        ("eu-west-1", DUAL, "bucket.s3.dualstack.eu-west-1.amazonaws.com"),
        ("cn-north-1", DUAL, "bucket.s3.dualstack.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", FIPS, "bucket.s3-fips.us-gov-west-1.amazonaws.com"),
        ("us-east-1", Variant(True, True), "bucket.s3-fips.dualstack.us-east-1.amazonaws.com"),
        ("eu-west-1", FAST, "bucket.s3-accelerate.amazonaws.com"),
        ("eu-west-1", DUAL._replace(accelerate=True), "bucket.s3-accelerate.dualstack.amazonaws.com"),
    ],
)
def test_a_variant_has_an_address_of_its_own(region: str, variant: Variant, host: str) -> None:
    endpoint = Endpoint.of("bucket", region, variant=variant)
    assert endpoint.address == (host, 443)
    assert endpoint.host_header == host
    assert endpoint.region == region


@pytest.mark.parametrize(
    ("arn", "region", "variant", "host"),
    [
        (POINT, "eu-west-1", Variant(), "cars-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"),
        (POINT.replace("/", ":"), "", Variant(), "cars-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"),
        (POINT, "us-east-1", DUAL, "cars-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com"),
        (POINT, "", FIPS, "cars-123456789012.s3-accesspoint-fips.eu-west-1.amazonaws.com"),
        (
            POINT.replace("arn:aws", "arn:aws-cn").replace("eu-west-1", "cn-north-1"),
            "",
            Variant(),
            "cars-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn",
        ),
    ],
)
def test_an_access_point_is_reached_and_signed_in_the_region_of_its_arn(
    arn: str, region: str, variant: Variant, host: str
) -> None:
    endpoint = Endpoint.of(arn, region, variant=variant)
    assert endpoint.address == (host, 443)
    assert endpoint.region == ("cn-north-1" if "aws-cn" in arn else "eu-west-1")
    assert endpoint.target("a/b") == "/a/b"


def test_a_multi_region_access_point_is_reached_at_its_one_address_and_signed_for_all_regions() -> None:
    endpoint = Endpoint.of(MANY, "eu-west-1")
    assert endpoint.address == ("m1.mrap.accesspoint.s3-global.amazonaws.com", 443)
    assert endpoint.region == "*"
    assert endpoint.target("a/b") == "/a/b"
    assert endpoint.in_region("eu-west-1") is None


@pytest.mark.parametrize(
    ("bucket", "url", "path_style", "variant", "reason"),
    [
        ("bucket", "https://s3.example.com", "auto", FIPS, "UseFips .* EndpointUrl"),
        ("bucket", "https://s3.example.com", "auto", DUAL, "UseDualStack .* EndpointUrl"),
        ("bucket", "https://s3.example.com", "auto", FAST, "UseAccelerate .* EndpointUrl"),
        ("bucket", "", True, FAST, "PathStyle"),
        ("my.bucket", "", "auto", FAST, "dot"),
        ("bucket", "", "auto", FAST._replace(fips=True), "UseFips"),
        (POINT, "https://s3.example.com", "auto", Variant(), "address of its own"),
        (POINT, "", True, Variant(), "address of its own"),
        (POINT, "", "auto", FAST, "address of its own"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/m1.mrap", "", "auto", Variant(), "names a region"),
        ("arn:aws:s3::123456789012:accesspoint/cars", "", "auto", Variant(), "names a region"),
        (MANY, "", "auto", FIPS, "one address only"),
        (MANY, "https://s3.example.com", "auto", Variant(), "address of its own"),
        (
            "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/bucket/b",
            "",
            "auto",
            Variant(),
            "Outposts",
        ),
        (
            "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/o",
            *("", "auto", Variant(), "takes no uploads"),
        ),
        ("arn:aws:s3:::bucket", "", "auto", Variant(), "ARN of a bucket"),
        ("arn:aws:s3:eu-west-1:1234:accesspoint/cars", "", "auto", Variant(), "not the ARN"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/x.y", "", "auto", Variant(), "no access point"),
    ],
)
def test_addresses_that_do_not_exist_are_refused(
    bucket: str, url: str, path_style: str | bool, variant: Variant, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        Endpoint.of(bucket, "eu-west-1", url, path_style, variant=variant)
    assert "eu-west-1" in str(caught.value) or "Use" in str(caught.value) or bucket in str(caught.value)
