"""The ways of a configuration's rules to S3: rules that go to one place share one transport.

They share it, with its connections, threads and credentials, where all that a connection needs is the
same; what their objects are like is each rule's own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from s3_file_uploader.config import files_in_flight, place_of
from s3_file_uploader.transport.s3.attributes import attributes_of, bucket_headers
from s3_file_uploader.transport.s3.aws_variants import Variant
from s3_file_uploader.transport.s3.bandwidth import Bandwidth
from s3_file_uploader.transport.s3.transport import Lane, S3Transport, open_s3_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings

__all__ = ["RuleLanes", "variant_of"]

_log = logging.getLogger(__name__)


class RuleLanes:
    """Opens the transport of each rule. One for each process: its limit of bandwidth is for all rules."""

    def __init__(self, settings: Settings, conceal: Callable[..., None] | None) -> None:
        self._concurrency = settings.concurrency or files_in_flight()
        self._bandwidth = Bandwidth(settings.max_bandwidth)
        self._conceal = conceal
        self._shared: dict[tuple[object, ...], S3Transport] = {}

    def adjust(self, settings: Settings) -> None:
        """Concurrency and MaxBandwidth are others from now on, also for what is on its way."""
        self._concurrency = settings.concurrency or files_in_flight()
        self._bandwidth.limit_to(settings.max_bandwidth)
        self._shared = {place: shared for place, shared in self._shared.items() if not shared.is_closed}
        for shared in self._shared.values():
            shared.resize(self._concurrency)

    def open(self, rule: Rule) -> Lane:
        """ConfigurationError where the rule's settings cannot work."""
        if rule.checksum_algorithm == "off":
            risk = (
                f"rule {rule.name}: ChecksumAlgorithm is off: only the size of objects is compared, so damage on"
                " the way goes unnoticed before files are removed"
            )
            _log.warning(risk)
        place = place_of(rule)
        if place not in self._shared or self._shared[place].is_closed:
            self._shared[place] = self._open(rule)
        return Lane(self._shared[place], attributes_of(rule))

    def _open(self, rule: Rule) -> S3Transport:
        return open_s3_transport(
            bucket=rule.bucket_name,
            region=rule.region,
            endpoint_url=rule.endpoint_url,
            path_style=rule.path_style,
            ca_bundle=rule.ca_bundle,
            profile=rule.profile,
            concurrency=self._concurrency,
            bandwidth=self._bandwidth,
            conceal=self._conceal,
            variant=variant_of(rule),
            headers=bucket_headers(rule),
            always_signs_payload=rule.sign_payload == "always",
        )


def variant_of(rule: Rule) -> Variant:
    return Variant(rule.use_dual_stack, rule.use_fips, rule.use_accelerate)
