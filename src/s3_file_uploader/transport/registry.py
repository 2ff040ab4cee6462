"""Which transports there are: one row each, imported only when it is used."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.transport.contract import Transport
    from s3_file_uploader.transport.s3.bandwidth import Bandwidth

__all__ = ["TRANSPORTS", "opener"]


def _s3(settings: Settings) -> Callable[[Rule], Transport]:
    from s3_file_uploader.transport.s3 import Bandwidth  # noqa: PLC0415  # heavy; only where it is used

    # One bucket of tokens for the whole process, whatever the number of destinations.
    bandwidth = None if settings.max_bandwidth is None else Bandwidth(settings.max_bandwidth)
    return partial(_open_s3, settings.concurrency, bandwidth)


def _open_s3(concurrency: int | None, bandwidth: Bandwidth | None, rule: Rule) -> Transport:
    from s3_file_uploader.transport.s3 import open_s3_transport  # noqa: PLC0415  # as above

    return open_s3_transport(
        bucket=rule.bucket_name,
        region=rule.region,
        endpoint_url=rule.endpoint_url,
        path_style=rule.path_style,
        ca_bundle=rule.ca_bundle,
        profile=rule.profile,
        concurrency=concurrency,
        bandwidth=bandwidth,
    )


TRANSPORTS: dict[str, Callable[[Settings], Callable[[Rule], Transport]]] = {"s3": _s3}


def opener(settings: Settings) -> Callable[[Rule], Transport]:
    """What opens the transport of a rule; ConfigurationError for one that is not there."""
    openers: dict[str, Callable[[Rule], Transport]] = {}

    def open_for(rule: Rule) -> Transport:
        if rule.transport not in TRANSPORTS:
            raise ConfigurationError(
                f"rule {rule.name}: Transport {rule.transport!r} is not in this build; there is {', '.join(TRANSPORTS)}"
            )
        if rule.transport not in openers:
            openers[rule.transport] = TRANSPORTS[rule.transport](settings)
        return openers[rule.transport](rule)

    return open_for
