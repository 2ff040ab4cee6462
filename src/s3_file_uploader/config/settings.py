"""The one table of settings. Each is declared once, here or in `rule_device`, `rule_objects`
and `rule_ways`: its name, type, bounds, default and meaning.

Everything else derives from these classes: the reading of files and the environment, the flags, the
JSON Schema, the reference page and `config show`. To add a setting, add a field; `make docs`
writes the page. The key is the attribute in PascalCase without `_seconds`: `interval_seconds` is `Interval`, and
`--interval` on the command line.

A field's annotation holds its type, msgspec's bounds, and a Setting. A value is a str that may hold
lone surrogates (`os.fsdecode`) where it names something on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from s3_file_uploader.config import notation
from s3_file_uploader.config.declaration import Group, Setting
from s3_file_uploader.config.rule_ways import Ways

__all__ = ["SINGLE_RULE_NAME", "Rule", "Settings"]

SINGLE_RULE_NAME = "default"

# The annotations below are read at run time, by get_type_hints: hence names that only they use.
_FilesInFlight = Annotated[int, Meta(ge=1, le=1024)]
_BytesPerSecond = Annotated[int, Meta(ge=1024)]
_TelemetrySeconds = Annotated[float, Meta(ge=5.0, le=86_400.0)]
_DeferralSeconds = Annotated[float, Meta(ge=0.0, le=3600.0)]


@dataclass(frozen=True, slots=True)
class Rule(Ways):
    """One PathName and where its files go."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that is in force: what concerns the process, and the rules."""

    name: Annotated[
        str,
        Setting(
            Group.PROCESS,
            notation.LABEL,
            "Names this configuration's ledger, a folder below StateDirectory.",
            derived="a short name that PathName, BucketName and ObjectKeyPrefix of the rules make",
        ),
    ]
    state_directory: Annotated[
        str,
        Setting(
            Group.PROCESS,
            notation.FOLDER,
            "Where the ledger lives.",
            derived="$STATE_DIRECTORY, else $XDG_STATE_HOME/s3-file-uploader, else "
            "~/.local/state/s3-file-uploader (root: /var/lib/s3-file-uploader)",
        ),
    ]
    rules: tuple[Rule, ...]
    concurrency: Annotated[
        _FilesInFlight | None,
        Setting(
            Group.PROCESS,
            notation.NUMBER,
            "At most this many files in flight; `auto`: chosen from the machine.",
            none="auto",
        ),
    ] = None
    max_bandwidth: Annotated[
        _BytesPerSecond | None,
        Setting(Group.PROCESS, notation.RATE, "The uplink's share, all rules together.", none="unlimited"),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Setting(Group.PROCESS, notation.LEVEL, "The least important lines that are logged."),
    ] = "INFO"
    log_format: Annotated[
        Literal["text", "json"],
        Setting(Group.PROCESS, notation.WORD, "Log lines as key=value text, or as one JSON object each."),
    ] = "text"
    local_telemetry_topic: Annotated[
        str | None,
        Setting(
            Group.GREENGRASS,
            notation.TOPIC,
            "The local topic on which the component publishes what it has done and what waits.",
            none="off",
        ),
    ] = "s3-file-uploader/telemetry"
    telemetry_topic: Annotated[
        str | None,
        Setting(
            Group.GREENGRASS,
            notation.TOPIC,
            "The topic of AWS IoT Core for the same.",
            none="off",
        ),
    ] = None
    telemetry_interval_seconds: Annotated[
        _TelemetrySeconds,
        Setting(
            Group.GREENGRASS,
            notation.DURATION,
            "Time between two of these messages. Trouble, and its end, are told at once.",
        ),
    ] = 60.0
    update_deferral_seconds: Annotated[
        _DeferralSeconds,
        Setting(
            Group.GREENGRASS,
            notation.DURATION,
            "How long a deployment that is about to stop the component waits until the parts of large files that "
            "are under way have arrived.",
        ),
    ] = 120.0
