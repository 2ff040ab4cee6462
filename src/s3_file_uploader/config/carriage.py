"""Which settings a transport has a use for, and which it cannot carry.

A task of Stream Manager is a file, a bucket, a key and metadata. What a rule says beyond that would be a
promise that nobody keeps, so it is refused, whoever else it would suit. What is merely of no use to a
rule (an address of the store, the number of streams) is refused where it is said of that rule alone; a
default for all rules may leave some out, and what AWS's environment says is passed over.

Decided by the headings of the table: a new setting of objects is refused until it is known to be carried.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config.declaration import Group
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS
from s3_file_uploader.config.problems import shown
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from s3_file_uploader.config.fields import Field
    from s3_file_uploader.config.problems import Problems
    from s3_file_uploader.config.settings import Rule

__all__ = [
    "check_bandwidth",
    "check_carriage",
    "check_effect",
    "check_telemetry",
    "leave_out",
    "needs_store",
    "stream_manager_port",
]

_STREAM_MANAGER = "stream-manager"
_DEFAULT = "default"
_FROM_ENVIRONMENT = "environment "

_CARRIED = frozenset({"metadata", "metadata_from_file"})
_PROMISES_OF_REQUESTS = frozenset(
    {"use_accelerate", "expected_bucket_owner", "request_payer", "sign_payload"}
)

# What its clients accept, which is what it can be told: labels between dots, none of an address's shape.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_BUCKET = rf"(?=.{{3,63}}\Z)(?!(?:[0-9]+\.)+[0-9]+\Z){_LABEL}(?:\.{_LABEL})*"

_WHAT_ELSE = {
    "storage_class": "a lifecycle rule of the bucket can change it after the upload",
    "server_side_encryption": "the bucket's default encryption holds",
    "kms_key_id": "the bucket's default encryption holds",
    "acl": "the bucket's policy and its setting of object ownership hold",
    "on_existing": "Stream Manager overwrites",
    "checksum_algorithm": "Verify head compares the object's size, and its checksum where that can be compared",
    "content_type": "leave it at auto; Stream Manager decides",
}


def needs_store(rule: Rule) -> bool:
    """Whether we speak to the store ourselves."""
    return rule.transport == "s3" or rule.verify == "head"


def check_carriage(rule: Rule, origins: Mapping[tuple[str, str], str], problems: Problems) -> None:
    """What the rule asks for and Stream Manager cannot carry."""
    if rule.transport != _STREAM_MANAGER:
        return
    for each in RULE_FIELDS:
        value = getattr(rule, each.attribute)
        if not _is_carried(each) and value != each.default:
            otherwise = _WHAT_ELSE.get(each.attribute, "")
            problems.add(
                f"{origins[rule.name, each.key]}: {each.key} is {shown(each.write(value))}, and Stream Manager "
                "cannot carry it: a task of it is a file, a bucket, a key and metadata"
                + (f" ({otherwise})" if otherwise else "")
                + f"; leave out {each.key}, or set Transport to s3"
            )
    if not re.fullmatch(_BUCKET, rule.bucket_name):
        problems.add(
            f"{origins[rule.name, 'BucketName']}: BucketName is {shown(rule.bucket_name)}, which Stream Manager "
            "does not take; allowed: 3 to 63 lower-case letters, digits, dots and hyphens"
        )


def _is_carried(each: Field) -> bool:
    if each.setting.group is Group.OBJECT:
        return each.attribute in _CARRIED
    return each.attribute not in _PROMISES_OF_REQUESTS


def _is_of_use(each: Field, transport: str, verify: str) -> bool:
    """Whether a rule does anything with this setting."""
    if each.setting.group is Group.STREAM_MANAGER:
        return transport == _STREAM_MANAGER
    if each.setting.group is Group.STORE and each.attribute not in _PROMISES_OF_REQUESTS:
        return transport == "s3" or verify == "head"
    return True


def leave_out(values: dict[str, Any], origins: dict[tuple[str, str], str]) -> None:
    """Forget what AWS's environment says and the rule has no use for."""
    for each in RULE_FIELDS:
        origin = (values["name"], each.key)
        if origins[origin].startswith(_FROM_ENVIRONMENT) and not _is_of_use(
            each, values["transport"], values["verify"]
        ):
            values[each.attribute] = each.default
            origins[origin] = _DEFAULT


def check_effect(
    rule: Rule, rules: Iterable[Rule], origins: Mapping[tuple[str, str], str], problems: Problems
) -> None:
    """What the rule says and nobody heeds; a default for all may leave out some rules."""
    for each in RULE_FIELDS:
        if getattr(rule, each.attribute) == each.default or _is_of_use(each, rule.transport, rule.verify):
            continue
        origin = origins[rule.name, each.key]
        is_shared = any(
            _is_of_use(each, one.transport, one.verify) and origins[one.name, each.key] == origin
            for one in rules
        )
        if not is_shared:
            why = f"Transport is {rule.transport}"
            if each.setting.group is Group.STORE:
                why += ", which has a store of its own, and Verify is not head"
            problems.add(f"{origin}: {each.key} has no effect: {why}")


def check_bandwidth(
    process: Mapping[str, Any],
    rules: Sequence[Rule],
    origins: Mapping[tuple[str, str], str],
    problems: Problems,
) -> None:
    """Stream Manager sends at its own pace, which is for its own configuration to say."""
    through = [rule.name for rule in rules if rule.transport == _STREAM_MANAGER]
    if process.get("max_bandwidth") is not None and through:
        problems.add(
            f"{origins['', 'MaxBandwidth']}: MaxBandwidth cannot be kept: Transport of "
            f"rule {', '.join(through)} is stream-manager, which sends at its own pace; leave it out, and set "
            "STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH (kbit/s) in Stream Manager's configuration"
        )


def check_telemetry(
    process: Mapping[str, Any],
    origins: Mapping[tuple[str, str], str],
    environment: Mapping[str, str],
    problems: Problems,
    *,
    is_component: bool,
) -> None:
    """What concerns the nucleus needs one, and what its topics hold must be known."""
    for each in PROCESS_FIELDS:
        if each.setting.group is not Group.GREENGRASS:
            continue
        value, origin = process.get(each.attribute, each.default), origins.get(("", each.key), "")
        if not is_component and value != each.default:
            problems.add(
                f"{origin}: {each.key} has no effect: no Greengrass nucleus has started this process"
            )
        if isinstance(value, str) and "!{thingName}" in value and not environment.get("AWS_IOT_THING_NAME"):
            problems.add(f"{origin}: {each.key} has !{{thingName}}, and AWS_IOT_THING_NAME is not set")


def stream_manager_port(said: object, environment: Mapping[str, str]) -> int:
    """The port where no rule says it: as said, else the environment's, else the default. ConfigurationError."""
    [port] = (each for each in RULE_FIELDS if each.attribute == "stream_manager_port")
    given = [said, *(environment.get(variable) for variable in port.setting.environment)]
    raw = next((one for one in given if not port.is_unset(one)), port.default)
    try:
        return int(port.convert(raw))
    except ValueError:
        raise ConfigurationError(f"{port.key} is {shown(raw)}; allowed: {port.allowed}") from None
