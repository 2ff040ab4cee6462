"""The component's work folder: `environments/<name>`, their order, and the lock.

    environments/<name>/            complete ones only: each is built under another name and renamed
    environments/<name>/.complete   written last
    environments/<name>/.in-use     locked by each process that runs in it
    environments/.new-*             being built, or left by an installation that was killed
    environments/.order             names, the one that was installed or started last at the end
    environments/.lock              held while one is built or removed

The order is not told by times: the clock of a device may stand years wrong at its start.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from component_install.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["COMPLETE", "IN_USE", "Place"]

COMPLETE = ".complete"
IN_USE = ".in-use"
_HIDDEN = "."
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 840.0  # shorter than the Timeout in the recipe, so that the reason is said


class Place:
    """`work` is the component's work folder. It may be missing; `environments` then is made with it."""

    def __init__(self, work: str) -> None:
        self.work = os.path.abspath(work)
        self.environments = os.path.join(self.work, "environments")

    def environment(self, name: str) -> str:
        return os.path.join(self.environments, name)

    def python(self, name: str) -> str:
        return os.path.join(self.environment(name), "bin", "python")

    def is_complete(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.environment(name), COMPLETE)) and os.path.exists(
            self.python(name)
        )

    def prepare(self) -> None:
        os.makedirs(self.environments, exist_ok=True)

    @contextmanager
    def lock(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """One at a time. `on_wait` is called once when another holds it; Refusal when that takes too long."""
        with self._lock_file() as file:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            if not _try_lock(file, fcntl.LOCK_EX):
                on_wait()
                while not _try_lock(file, fcntl.LOCK_EX):
                    if time.monotonic() > deadline:
                        raise Refusal(
                            f"another installation holds {self.environments}/.lock",
                            "end that process, then deploy again",
                        )
                    time.sleep(_LOOK_SECONDS)
            yield

    def note(self, name: str) -> None:
        """Let `name` be the one that was installed or started last."""
        order = self._order()
        if order[-1:] == [name]:
            return
        path = self.environment(".order")
        with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
            file.write("".join(f"{each}\n" for each in [*(each for each in order if each != name), name]))
        os.replace(file.name, path)

    def tidy(self, own: str) -> None:
        """Remove what no start and no rollback needs: all but `own`, the one before it, and those in use.

        Nothing is removed while an installation is at work.
        """
        with self._lock_file() as file:
            if not _try_lock(file, fcntl.LOCK_EX):
                return
            others = [name for name in self._order() if name != own and self.is_complete(name)]
            for name in os.listdir(self.environments):
                if name not in (own, *others[-1:]):
                    self._remove(name)

    def hold(self, name: str) -> None:
        """Mark it as in use by this process, whatever program it becomes, until that ends."""
        file = os.open(os.path.join(self.environment(name), IN_USE), os.O_RDONLY)
        _try_lock(file, fcntl.LOCK_SH)
        os.set_inheritable(file, True)

    def remove_leftovers(self) -> None:
        """Of installations that were killed. Only the holder of the lock may ask."""
        for name in os.listdir(self.environments):
            if name.startswith((".new-", ".old-")):
                shutil.rmtree(self.environment(name), ignore_errors=True)

    def _remove(self, name: str) -> None:
        if name.startswith(_HIDDEN):
            if name.startswith((".new-", ".old-")):
                shutil.rmtree(self.environment(name), ignore_errors=True)
            return
        if self._is_in_use(name):
            return
        away = self.environment(f".old-{name}")
        with suppress(OSError):  # half of an environment must never look like a whole one
            os.rename(self.environment(name), away)
        shutil.rmtree(away, ignore_errors=True)

    def _is_in_use(self, name: str) -> bool:
        try:
            file = os.open(os.path.join(self.environment(name), IN_USE), os.O_RDONLY)
        except OSError:
            return False
        try:
            return not _try_lock(file, fcntl.LOCK_EX)
        finally:
            os.close(file)

    def _order(self) -> list[str]:
        try:
            with open(self.environment(".order"), encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    @contextmanager
    def _lock_file(self) -> Iterator[int]:
        file = os.open(self.environment(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield file
        finally:
            os.close(file)


def _try_lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
