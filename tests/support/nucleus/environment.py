"""The environment that a component's process gets: what the nucleus puts there and nothing of the test's own.

A test that starts a component with it finds out when a program needs more than a device gives it.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from support.nucleus.kinds import LITE

if TYPE_CHECKING:
    from support.nucleus.server import FakeNucleus

__all__ = ["environment"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def environment(nucleus: FakeNucleus, component: str, work: str, thing_name: str) -> dict[str, str]:
    token = nucleus.token(component)
    root = os.path.dirname(os.path.dirname(work.rstrip("/")))
    given = {
        "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": nucleus.socket_path,
        "SVCUID": token,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        "AWS_IOT_THING_NAME": thing_name,
        "AWS_REGION": nucleus.region,
        "AWS_DEFAULT_REGION": nucleus.region,
        "GGC_VERSION": nucleus.kind.version,
        "GG_ROOT_CA_PATH": os.path.join(root, "rootCA.pem"),
        "PATH": _PATH,
        **_of_the_user(work),
    }
    if nucleus.components[component].uses_token_exchange:
        given["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = nucleus.credentials_uri
    return {**given, **(_of_systemd() if nucleus.kind.name == LITE else _of_java(nucleus))}


def _of_the_user(work: str) -> dict[str, str]:
    """HOME is one that the component's user may well lack: here the work folder, never the tester's."""
    name = pwd.getpwuid(os.getuid()).pw_name
    return {"HOME": work, "USER": name, "LOGNAME": name, "SHELL": "/bin/sh"}


def _of_systemd() -> dict[str, str]:
    """Lite's components are units; it sets no variable of a proxy that is not configured."""
    return {"LANG": "C.UTF-8", "INVOCATION_ID": "0123456789abcdef0123456789abcdef"}


def _of_java(nucleus: FakeNucleus) -> dict[str, str]:
    """Without a proxy the classic nucleus sets all its variables all the same: to nothing."""
    proxies = {name: "" for upper in _PROXIES for name in (upper, upper.lower())}
    return {
        "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH": nucleus.socket_path,
        "JAVA_HOME": "/usr/lib/jvm/default-java",
        **proxies,
    }
