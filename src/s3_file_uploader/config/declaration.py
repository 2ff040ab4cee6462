"""What a row of the table of settings says beside a field's type, bounds and default."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from s3_file_uploader.config.notation import Notation

__all__ = ["Group", "Setting"]


class Group(Enum):
    """The headings of the reference page and of `--help`, in their order."""

    FILES = "Which files go where"
    READINESS = "When a file is ready"
    AFTER_UPLOAD = "After the upload"
    DELIVERY = "Delivery and retries"
    OBJECT = "What the objects are like"
    STORE = "The store"
    STREAM_MANAGER = "Stream Manager"
    GREENGRASS = "Greengrass"
    PROCESS = "The process"


class Setting(Struct, frozen=True):  # made in a tenth of the time of a dataclass, at each start
    """What the table says of a field beside its type, bounds and default.

    `none` is the word for None where the type has it. `environment` are the variables of AWS's tools
    that set it, the strongest first. `derived` says in words what an empty default becomes. `key` stands
    where the attribute does not make it.
    """

    group: Group
    notation: Notation
    help: str
    none: str = ""
    environment: tuple[str, ...] = ()
    derived: str = ""
    key: str = ""
