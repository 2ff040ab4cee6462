"""What two rules must have in common to share a way to the store, and to make objects alike.

Decided by the headings of the table, so that a new setting is taken into account wherever it belongs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.config.declaration import Group
from s3_file_uploader.config.fields import RULE_FIELDS

if TYPE_CHECKING:
    from s3_file_uploader.config.settings import Rule

__all__ = ["manner_of", "place_of"]

_OF_PLACE = [each.attribute for each in RULE_FIELDS if each.setting.group is Group.STORE]
_OF_MANNER = [each.attribute for each in RULE_FIELDS if each.setting.group is Group.OBJECT]


def place_of(rule: Rule) -> tuple[object, ...]:
    """The bucket and all that a connection to it needs; through Stream Manager each rule has streams of its own."""
    if rule.transport == "stream-manager":
        return (rule.transport, rule.bucket_name, rule.stream_manager_port, rule.name)
    return (rule.transport, rule.bucket_name, *(getattr(rule, attribute) for attribute in _OF_PLACE))


def manner_of(rule: Rule) -> tuple[object, ...]:
    """What the rule's objects are like."""
    return tuple(getattr(rule, attribute) for attribute in _OF_MANNER)
