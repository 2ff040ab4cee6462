"""`install WORK` and `run WORK`: the order of the steps, the lines in the log, the errors.

`install` is quick and says one line where nothing is left to do. `run` installs what is missing, for a work folder
may have been emptied, and then becomes the program.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from component_install.artifact import open_artifact
from component_install.device import environment_name, target
from component_install.launcher import program, surroundings, write_launcher
from component_install.place import Place
from component_install.refusal import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["main"]

_WORDS = 2
_KILLED_BY = 128


def main(arguments: list[str], artifact: str) -> int:
    """The exit code; does not return where the program was started."""
    if len(arguments) != _WORDS or arguments[0] not in ("install", "run"):
        _complain(
            "the artifact is called with other words than `install WORK` or `run WORK`. Try: the recipe's scripts."
        )
        return 2
    command, place = arguments[0], Place(arguments[1])
    try:
        with _stopping_on_signals(), _usual_rights():
            name = _install(artifact, place, says_ready=command == "install")
            if command == "run":
                place.tidy(name)
                place.note(name)
                place.hold(name)
        if command == "run":
            os.execve(place.python(name), program(place, name), surroundings(place, os.environ))  # noqa: S606  # a list of our own
    except Refusal as refusal:
        _complain(str(refusal))
        return 1
    except OSError as error:
        _complain(str(refusal_of(error, place.work)))
        return 1
    return 0


def _install(artifact_path: str, place: Place, *, says_ready: bool) -> str:
    """The environment's name, which is complete then."""
    with open_artifact(artifact_path) as artifact:
        name = environment_name(artifact.build_id)
        if not place.is_complete(name):
            place.prepare()
            with place.lock(lambda: _say("another installation is at work; waiting for it")):
                if not place.is_complete(name):  # not made meanwhile
                    from component_install.environment import make_environment  # noqa: PLC0415  # only where needed

                    _say(
                        f"installing {artifact.version} for {target()}; this takes minutes on a small device"
                    )
                    make_environment(artifact, place, name, _say)
                    place.note(name)
            says_ready = True
        write_launcher(place, name)
        if says_ready:
            _say(f"{artifact.version} is ready in {place.environment(name)}")
    return name


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """The nucleus ends an installation that takes too long: then the installer ends too, and the half is removed."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(_KILLED_BY + number)

    before = {
        number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _usual_rights() -> Iterator[None]:
    """Whatever umask came along: others may read the environment, nobody else may write it."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def _say(message: str) -> None:
    print(f"s3-file-uploader: {message}", flush=True)


def _complain(message: str) -> None:
    print(f"s3-file-uploader: {message}", file=sys.stderr, flush=True)
