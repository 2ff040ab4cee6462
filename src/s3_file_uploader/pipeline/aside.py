"""A name of its own for a hidden file that cannot have its own back, so that it is found and sent again.

That is one whose ledger is lost, or whose name newer content has taken since: under its old name it
would be sent to the same key after the newer content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.errors import RemovalFailed
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.observe.log import log
from s3_file_uploader.source import recovery
from s3_file_uploader.source.hidden import digits_of
from s3_file_uploader.source.removal import Conclusion, Target

if TYPE_CHECKING:
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.source.edge import Edge

__all__ = ["name_for", "put_aside"]

_UNKNOWN = Fingerprint(0, 0, 0, 0, 0)


def name_for(rule: ActiveRule, folder: bytes, hidden: bytes) -> bytes:
    """What the hidden file of that folder is to be called: the same however often it is asked."""
    relative = rule.selection.pattern.relative_folder(folder)
    return rule.selection.name_for(digits_of(hidden).decode(), relative)


def put_aside(edge: Edge, rule: ActiveRule, folder: bytes, hidden: bytes) -> bytes | None:
    """Give it that name, and a done marker where the rule wants one; None where it cannot be done now."""
    name = name_for(rule, folder, hidden)
    marker = rule.setting.done_marker.encode("utf-8", "surrogateescape")
    target = Target(
        folder=folder,
        base=rule.base,
        name=name,
        fingerprint=_UNKNOWN,
        marker=name + marker if marker else None,
        follow_symlinks=rule.setting.follow_symlinks,
    )
    try:
        outcome = recovery.adopt(edge, target, hidden)
    except RemovalFailed as refusal:
        log.warning("removal_failed", path=target.path, reason=str(refusal), advice=refusal.advice)
        return None
    return name if outcome.conclusion is Conclusion.UNDONE else None
