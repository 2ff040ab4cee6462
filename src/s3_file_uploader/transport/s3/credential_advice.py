"""Why there are no credentials, provider by provider, for a person to read.

awscrt names only the last provider's error, which is rarely the one that was meant. So this looks at
the same environment and says of each provider whether it was set up and what it would need. It reads
names and places, never a secret, and shows no value that could be one.
"""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["describe_chain", "is_remote"]

_FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - the name of a variable
_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of a variable


def is_remote(environment: Mapping[str, str], profile: str) -> bool:
    """True where credentials come from a service that may be down for now (so: have patience)."""
    if profile:
        return False
    names = (_FULL_URI, _RELATIVE_URI, "AWS_WEB_IDENTITY_TOKEN_FILE")
    return any(environment.get(name) for name in names)


def describe_chain(environment: Mapping[str, str], profile: str, reason: str) -> str:
    """One line: what each provider of the chain lacks, then awscrt's own last word.

    Those that somebody has set up come first: one of them was meant.
    """
    if profile:
        parts = [f"profile: {_profile(environment, profile)}"]
    else:
        named = environment.get("AWS_PROFILE") or "default"
        ways = [
            f"environment: {_variables(environment)}",
            f"profile: {_profile(environment, named)}",
            f"web identity: {_web_identity(environment)}",
            f"container: {_container(environment)}",
            f"instance metadata: {_instance(environment)}",
        ]
        is_last = [not any(map(environment.get, names)) for names in _SIGNS]
        parts = [way for _, way in sorted(zip(is_last, ways, strict=True), key=lambda pair: pair[0])]
    return "; ".join(parts) + f" (last: {reason})"


# What somebody sets who means each of the ways, in their order.
_SIGNS = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"),
    ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    (_FULL_URI, _RELATIVE_URI),
    (),
)


def _variables(environment: Mapping[str, str]) -> str:
    needed = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    missing = [name for name in needed if not environment.get(name)]
    return f"{' and '.join(missing)} not set" if missing else "set, but could not be used"


def _profile(environment: Mapping[str, str], profile: str) -> str:
    files = [
        environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
        environment.get("AWS_CONFIG_FILE") or "~/.aws/config",
    ]
    found = [name for name in files if os.path.exists(os.path.expanduser(name))]
    if not found:
        return f"no {profile!r}: neither {files[0]} nor {files[1]} exists"
    unreadable = [name for name in found if not os.access(os.path.expanduser(name), os.R_OK)]
    if unreadable:
        return f"{unreadable[0]} cannot be read by this user"
    return f"{profile!r} in {' or '.join(found)} gives none"


def _web_identity(environment: Mapping[str, str]) -> str:
    needed = ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        return f"{' and '.join(missing)} not set"
    if not os.access(environment["AWS_WEB_IDENTITY_TOKEN_FILE"], os.R_OK):
        return "the file of AWS_WEB_IDENTITY_TOKEN_FILE cannot be read"
    return "set, but STS gave none"


def _container(environment: Mapping[str, str]) -> str:
    relative, full = environment.get(_RELATIVE_URI), environment.get(_FULL_URI)
    if relative:
        return f"{_RELATIVE_URI} is set, but 169.254.170.2 gave none (is this a container of ECS?)"
    if not full:
        return f"{_FULL_URI} not set"
    token = f"with {_TOKEN}" if environment.get(_TOKEN) else f"without {_TOKEN}"
    token_file = environment.get(_TOKEN_FILE)
    if token_file:
        token = f"with {_TOKEN_FILE} (the file must hold the token alone, without a line end)"
        if not os.access(token_file, os.R_OK):
            token = f"with a {_TOKEN_FILE} that cannot be read"
    return f"{_without_secrets(full)} gave none, asked {token}"


def _instance(environment: Mapping[str, str]) -> str:
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "off (AWS_EC2_METADATA_DISABLED)"
    return "gave none (not on EC2, or no role is attached)"


def _without_secrets(url: str) -> str:
    """Scheme, host, port and path of a URL: user part and query may be secrets."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    except ValueError:
        return f"the URL of {_FULL_URI}, which is malformed,"
    return f"{parts.scheme}://{place}{parts.path}"
