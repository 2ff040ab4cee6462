"""The settings of the server: a flag for each, and the environment variables of the real component.

A flag wins over the environment, the environment over the default. What is wrong is said with the name
under which it was given, its value and what is allowed.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CHOICES", "OPTIONS", "Option", "Settings", "SettingsError", "default_root", "settings_from"]

KIB = 1 << 10
MIB = 1 << 20
MOST_FRAME_BYTES = 1 << 30  # what the clients refuse to exceed
FRAME_OVERHEAD_BYTES = 64 * KIB  # room for all that is not payload: names of 255 characters and an id

TOKEN_VARIABLE = "STREAM_MANAGER_LOCAL_AUTH_TOKEN"  # noqa: S105  # its name

CHOICES: Mapping[str, tuple[str, ...]] = {
    "in_progress": ("never", "multipart", "always"),
    "decode_urls": ("literal-first", "decode-first", "never"),
    "log_level": ("TRACE", "DEBUG", "INFO", "WARN", "ERROR"),
}


class SettingsError(Exception):
    """A flag or variable is wrong: exit code 2. `advice` says what to try."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes are in bytes, times in seconds; a bandwidth is in bytes per second, None without a limit."""

    host: str = "127.0.0.1"
    port: int = 8088
    port_file: Path | None = None
    stops_with_stdin: bool = False
    root: Path = Path()
    authenticate: bool = False
    auth_token: str = ""
    most_message_bytes: int = 64 * MIB
    most_connections: int = 1000
    handshake_seconds: float = 10.0
    full_status: int = 3
    free_exported: bool = True
    export_bytes_per_second: int | None = None
    export_threads: int = 5
    least_part_bytes: int = 5 * MIB
    in_progress: str = "multipart"
    decode_urls: str = "literal-first"
    success_without_upload: bool = False
    endpoint_url: str = ""
    region: str = ""
    log_level: str = "INFO"
    faults: tuple[str, ...] = ()
    fault_seed: int | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as a person gives it. `read` turns its text into the value, or raises ValueError."""

    field: str
    flag: str
    variables: tuple[str, ...]
    read: Callable[[str], object]
    metavar: str
    help: str
    is_repeatable: bool = False
    is_switch: bool = False


def settings_from(flags: Mapping[str, object], environment: Mapping[str, str]) -> Settings:
    """`flags` holds texts by the settings' names (a list of texts for a repeatable one).

    Raises SettingsError. A variable that is set and empty counts as not set.
    """
    given: dict[str, object] = {}
    for option in OPTIONS:
        found = _given(option, flags, environment)
        if found is not None:
            given[option.field] = found
    if token := environment.get(TOKEN_VARIABLE, ""):
        given.setdefault("auth_token", token)
    settings = replace(Settings(root=default_root(environment)), **given)  # type: ignore[arg-type]  # each was read as its field has it
    return _with_authentication(settings, is_said="authenticate" in given)


def _given(option: Option, flags: Mapping[str, object], environment: Mapping[str, str]) -> object:
    value = flags.get(option.field)
    if isinstance(value, list):
        return tuple(_read(option, each, option.flag) for each in value)
    if value is not None:
        return _read(option, str(value), option.flag)
    for variable in option.variables:
        if text := environment.get(variable, ""):
            return _read(option, text, variable)
    return None


def _read(option: Option, text: str, name: str) -> object:
    try:
        return option.read(text)
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from None
    except OSError as error:
        raise SettingsError(f"{name} is {text!r}: it cannot be read: {error.strerror}") from None


def _with_authentication(settings: Settings, *, is_said: bool) -> Settings:
    """A token alone is enough to ask for it; to ask for it without one is a mistake."""
    if settings.authenticate and not settings.auth_token:
        raise SettingsError(
            "clients shall be authenticated, and no token is given to compare theirs with",
            "put the token in STREAM_MANAGER_LOCAL_AUTH_TOKEN or in a file for --auth-token-file; clients send "
            "what their AWS_CONTAINER_AUTHORIZATION_TOKEN holds. Or STREAM_MANAGER_AUTHENTICATE_CLIENT=false.",
        )
    return settings if is_said else replace(settings, authenticate=bool(settings.auth_token))


def default_root(environment: Mapping[str, str]) -> Path:
    """Where File streams are kept when nobody says where."""
    state = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return state / "stream-manager-local"


def _integer(least: int, most: int) -> Callable[[str], object]:
    def read(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?\d{1,18}", text.strip()) else least - 1
        if not least <= value <= most:
            raise ValueError(f"it must be an integer from {least} to {most}")
        return value

    return read


_UNITS = {"": 1, "KIB": KIB, "MIB": MIB, "GIB": KIB * MIB, "KB": 1000, "MB": 1000**2, "GB": 1000**3}


def _size(least: int, most: int) -> Callable[[str], object]:
    def read(text: str) -> int:
        found = re.fullmatch(r"(\d{1,18})\s*([KMG]i?B)?", text.strip(), re.IGNORECASE)
        value = int(found[1]) * _UNITS[(found[2] or "").upper()] if found else -1
        if not least <= value <= most:
            raise ValueError(f"it must be from {least} to {most} bytes, as in 5242880 or 5MiB")
        return value

    return read


def _kilobits(text: str) -> int:
    """Kilobits per second, as the real component has it; bytes per second here."""
    try:
        value = _integer(1, 10**12)(text)
    except ValueError as error:
        raise ValueError(f"{error}, in kilobits per second") from None
    assert isinstance(value, int)
    return value * 125


def _flag(text: str) -> bool:
    value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())
    if value is None:
        raise ValueError("it must be true or false")
    return value


def _among(field: str) -> Callable[[str], object]:
    def read(text: str) -> str:
        allowed = CHOICES[field]
        by_fold = {each.lower(): each for each in allowed}
        if text.lower() not in by_fold:
            raise ValueError(f"it must be one of {', '.join(allowed)}")
        return by_fold[text.lower()]

    return read


def _token_file(text: str) -> str:
    token = Path(text).read_text(encoding="utf-8", errors="surrogateescape").strip()
    if not token:
        raise ValueError("the file holds no token")
    return token


def _seconds(text: str) -> float:
    value = 0.0
    with suppress(ValueError):
        value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError("it must be a number of seconds above 0")
    return value


def _url(text: str) -> str:
    if not re.match(r"https?://[^/]", text):
        raise ValueError("it must begin with http:// or https:// and name a host")
    return text


_MOST_MESSAGE = MOST_FRAME_BYTES - FRAME_OVERHEAD_BYTES

OPTIONS: tuple[Option, ...] = (
    Option(
        "port",
        "--port",
        ("STREAM_MANAGER_SERVER_PORT",),
        _integer(0, 65535),
        "PORT",
        "the port to listen on; 0 takes a free one and says which (default: 8088)",
    ),
    Option(
        "port_file",
        "--port-file",
        (),
        Path,
        "FILE",
        "write the port into this file once clients are served",
    ),
    Option(
        "stops_with_stdin",
        "--stop-with-stdin",
        (),
        _flag,
        "",
        "stop when standard input ends: whoever started the server, a test, takes it along when it dies",
        is_switch=True,
    ),
    Option(
        "host",
        "--host",
        (),
        str,
        "ADDRESS",
        "the address to listen on; others than loopback ones let the network in (default: 127.0.0.1)",
    ),
    Option(
        "root",
        "--store-root-dir",
        ("STREAM_MANAGER_STORE_ROOT_DIR",),
        lambda text: Path(os.path.abspath(os.path.expanduser(text))),
        "FOLDER",
        "where File streams are kept (default: stream-manager-local in your state folder)",
    ),
    Option(
        "authenticate",
        "--authenticate-client",
        ("STREAM_MANAGER_AUTHENTICATE_CLIENT",),
        _flag,
        "true|false",
        "whether clients must send the token (default: true once there is one)",
    ),
    Option(
        "auth_token",
        "--auth-token-file",
        (),
        _token_file,
        "FILE",
        "the token, alone in a file; or in the variable STREAM_MANAGER_LOCAL_AUTH_TOKEN",
    ),
    Option(
        "most_message_bytes",
        "--max-message-size",
        (),
        _size(KIB, _MOST_MESSAGE),
        "SIZE",
        "the largest message that is taken; larger ones are answered with RequestPayloadTooLarge (default: 64MiB)",
    ),
    Option(
        "most_connections",
        "--max-connections",
        (),
        _integer(1, 100_000),
        "COUNT",
        "connections at a time; more are closed at once (default: 1000)",
    ),
    Option(
        "handshake_seconds",
        "--handshake-timeout",
        (),
        _seconds,
        "SECONDS",
        "how long a client may take to say who it is (default: 10)",
    ),
    Option(
        "full_status",
        "--full-status",
        (),
        _integer(1, 18),
        "CODE",
        "the status code of an append to a full stream that rejects new data (default: 3, InvalidRequest)",
    ),
    Option(
        "free_exported",
        "--free-exported",
        (),
        _flag,
        "true|false",
        "whether a full stream makes room by dropping segments that all its exports have passed (default: true)",
    ),
    Option(
        "export_threads",
        "--exporter-thread-pool-size",
        ("STREAM_MANAGER_EXPORTER_THREAD_POOL_SIZE",),
        _integer(1, 1000),
        "COUNT",
        "uploads at a time, over all streams (default: 5)",
    ),
    Option(
        "export_bytes_per_second",
        "--exporter-max-bandwidth",
        ("STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH",),
        _kilobits,
        "KBIT/S",
        "kilobits per second, over all uploads (default: no limit)",
    ),
    Option(
        "least_part_bytes",
        "--multipart-upload-min-part-size",
        (
            "STREAM_MANAGER_EXPORTER_S3_DESTINATION_MULTIPART_UPLOAD_MIN_PART_SIZE_BYTES",
            "STREAM_MANAGER_MULTIPART_UPLOAD_MIN_PART_SIZE_BYTES",
        ),
        _size(5 * MIB, 5 * KIB * MIB),
        "SIZE",
        "the least size of a part, except the last (default: 5MiB)",
    ),
    Option(
        "in_progress",
        "--in-progress",
        (),
        _among("in_progress"),
        "never|multipart|always",
        "which uploads say InProgress in the status stream: AWS does not say (default: multipart)",
    ),
    Option(
        "decode_urls",
        "--decode-urls",
        (),
        _among("decode_urls"),
        "literal-first|decode-first|never",
        "how a percent sign in an input URL is read: AWS does not say (default: literal-first)",
    ),
    Option(
        "success_without_upload",
        "--success-without-upload",
        (),
        _flag,
        "",
        "answer every task with Success and send nothing, to measure or to try a client",
        is_switch=True,
    ),
    Option(
        "endpoint_url",
        "--endpoint-url",
        ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        _url,
        "URL",
        "the S3 service to upload to (default: AWS's)",
    ),
    Option(
        "region",
        "--region",
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
        str,
        "REGION",
        "its region (default: the profile's, else us-east-1)",
    ),
    Option(
        "log_level",
        "--log-level",
        ("LOG_LEVEL",),
        _among("log_level"),
        "LEVEL",
        "TRACE, DEBUG, INFO, WARN or ERROR (default: INFO)",
    ),
    Option(
        "faults",
        "--fault",
        (),
        str,
        "FAULT",
        "something to do wrong on purpose; may be given again. See below",
        is_repeatable=True,
    ),
    Option(
        "fault_seed",
        "--fault-seed",
        (),
        _integer(0, 2**32 - 1),
        "NUMBER",
        "makes faults of a probability the same in each run; it is said at the start",
    ),
)

assert {option.field for option in OPTIONS} <= {field.name for field in fields(Settings)}
