"""What the surroundings say where neither a flag nor a file does: AWS's variables, profiles, folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["profile_region", "state_directory"]

_OWN_FOLDER = "s3-file-uploader"


def profile_region(profile: str, environment: Mapping[str, str]) -> str:
    """The region that the profile has in ~/.aws/config, or ""."""
    path = environment.get("AWS_CONFIG_FILE") or os.path.join(_home(environment), ".aws", "config")
    if not os.path.isfile(path):
        return ""
    import configparser  # noqa: PLC0415  # only where there is such a file

    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(os.path.expanduser(path), encoding="utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""  # the credential chain will speak up if it matters
    section = "default" if profile in ("", "default") else f"profile {profile}"
    return parser.get(section, "region", fallback="").strip()


def state_directory(environment: Mapping[str, str], *, user_id: int) -> tuple[str, str]:
    """The folder for the ledger, and in words where it came from."""
    from_systemd = environment.get("STATE_DIRECTORY", "").split(":")[0]
    if from_systemd.startswith("/"):
        return from_systemd, "environment STATE_DIRECTORY"
    from_xdg = environment.get("XDG_STATE_HOME", "")
    if from_xdg.startswith("/"):  # the XDG specification says to ignore relative ones
        return os.path.join(from_xdg, _OWN_FOLDER), "environment XDG_STATE_HOME"
    if user_id == 0:
        return f"/var/lib/{_OWN_FOLDER}", "default of root"
    return os.path.join(_home(environment), ".local", "state", _OWN_FOLDER), "default"


def _home(environment: Mapping[str, str]) -> str:
    return environment.get("HOME") or os.path.expanduser("~")
