"""What signs requests, and where it comes from: always a snapshot at hand, renewed ahead of time.

One daemon thread of ours fetches; nobody who asks ever waits unless he calls `wait`. The thread
never gives credentials out as unusable because a clock says so: devices without a clock battery are
off by years, so only the store decides what has expired (`refresh`). It stores nothing and logs
nothing, and no text made here holds a secret.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError, Misconfigured, Unreachable
from s3_file_uploader.transport.s3 import crt
from s3_file_uploader.transport.s3.credential_advice import describe_chain, is_remote

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CredentialSource", "Credentials", "Patience"]

_ADVICE = (
    "Give credentials in any one of these ways: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the"
    " environment, a profile (Profile, AWS_PROFILE), or a role of the container or instance."
)
_REMOTE_ADVICE = (
    "Look at the service that hands out the credentials, at its address and its token; uploads go on by"
    " themselves once it gives some."
)
_FETCH_TIMEOUT_SECONDS = 30.0  # instance metadata alone may take several tries of a few seconds
_LONGEST_SLEEP_SECONDS = 60.0  # the wall clock may jump (NTP at boot, suspend): look at it again


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a request. Neither `repr` nor `str` shows a secret.

    `expires_at` is in epoch seconds, None when they do not expire by themselves.
    """

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """The times of a CredentialSource, in seconds."""

    ahead: float = 300.0  # renew that long before they expire
    ahead_jitter: float = 60.0  # and up to that much earlier, so that a fleet does not renew at once
    between_renewals: float = 60.0  # a provider may hand out the old ones until shortly before they expire
    first_retry: float = 1.0
    last_retry: float = 300.0


class CredentialSource:
    """The current credentials of one rule, from AWS's chain or from one profile.

    `changed` is called from the source's own thread after every attempt; it must not block or raise.
    """

    def __init__(
        self,
        profile: str = "",
        *,
        changed: Callable[[], None] | None = None,
        conceal: Callable[..., None] | None = None,
        fetch: Callable[[str, float], tuple[str, str, str | None, float | None]] = crt.fetch_credentials,
        patience: Patience | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._profile = profile
        self._changed = changed
        self._conceal = conceal  # told each secret before anyone signs with it, to keep it out of logs
        self._fetch = fetch
        self._patience = patience or Patience()
        self._wall = wall
        self._monotonic = monotonic
        self._chance = chance
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        # Everything below is guarded by the condition.
        self._current: Credentials | None = None
        self._last_error = ""
        self._asked = False  # somebody wants credentials since the last attempt
        self._demand = ""  # why the store did not like the current ones
        self._fruitless = 0  # attempts in a row that brought nothing new
        self._attempts = 0
        self._not_before = 0.0  # monotonic
        self._ahead = 0.0
        self._is_closed = False

    def __repr__(self) -> str:
        state = "present" if self._current is not None else "absent"
        return f"CredentialSource(profile={self._profile!r}, credentials={state})"

    def current(self) -> Credentials | None:
        """The credentials to sign with now; None while there are none yet. Never blocks."""
        current = self._current  # one reference, replaced as a whole
        if current is None or self._last_error:
            self._ask("")
        return current

    def refresh(self, reason: str) -> None:
        """The store refused the current ones (`ExpiredToken`): fetch anew. Many calls are one fetch."""
        self._ask(reason)

    def wait(self, timeout_seconds: float) -> Credentials | None:
        """Block until there are credentials (new ones after `refresh`), a failure, or time is over."""
        with self._condition:  # re-entrant: no attempt can end between these lines unseen
            before = self._attempts
            if self._current is None:
                self._ask("")
            self._condition.wait_for(
                lambda: (
                    self._is_closed
                    or self._attempts > before
                    or (self._current is not None and not self._demand)
                ),
                timeout_seconds,
            )
            return self._current

    @property
    def is_refreshing(self) -> bool:
        """True from `refresh` until its fetch has ended, well or not."""
        return bool(self._demand)

    @property
    def last_error(self) -> str:
        """Why the last attempt failed, and what each provider would need; empty after a success."""
        return self._last_error

    def failure(self) -> DeliveryError:
        """The error of a delivery that has no credentials to be signed with."""
        problem = self._last_error or "they have not been fetched yet"
        has_service = is_remote(os.environ, self._profile)
        kind = Misconfigured if self._last_error and not has_service else Unreachable
        advice = _REMOTE_ADVICE if has_service else _ADVICE
        return kind(f"no AWS credentials: {problem}", code="NoCredentials", advice=advice)

    def close(self) -> None:
        """Ends the thread as soon as its fetch, if any, returns; does not wait for it."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def _ask(self, demand: str) -> None:
        with self._condition:
            if self._is_closed:
                return
            self._asked = True
            self._demand = demand or self._demand
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="s3fu-credentials", daemon=True)
                self._thread.start()
            self._condition.notify_all()

    def _run(self) -> None:
        while self._sleep_until_due():
            before = self._current
            fetched, problem = self._attempt()
            with self._condition:
                self._attempts += 1
                self._note(before, fetched, problem)
                self._condition.notify_all()
            if self._changed is not None and not self._is_closed:
                self._changed()

    def _attempt(self) -> tuple[Credentials | None, str]:
        try:
            fetched = Credentials(*self._fetch(self._profile, _FETCH_TIMEOUT_SECONDS))
            if self._conceal is not None:
                self._conceal(fetched.secret_access_key, fetched.session_token)
            return fetched, ""  # noqa: TRY300  # what conceal raises is a failed attempt too
        except crt.ChainError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - without this thread nothing is uploaded ever again
            reason = f"unexpected {type(error).__name__}"  # its text may quote anything
        return None, describe_chain(os.environ, self._profile, reason)

    def _note(self, before: Credentials | None, fetched: Credentials | None, problem: str) -> None:
        self._asked = False
        self._demand = ""
        self._last_error = problem
        self._ahead = self._patience.ahead + self._chance() * self._patience.ahead_jitter
        if fetched is not None:
            self._current = fetched
        if fetched is not None and fetched != before:
            self._fruitless = 0
            self._not_before = self._monotonic() + self._patience.first_retry
            return
        # Failed, or the provider still hands out the same: it gets rarer, also when it is asked for.
        self._fruitless += 1
        pause = min(self._patience.last_retry, self._patience.first_retry * 2.0 ** min(self._fruitless, 30))
        self._not_before = self._monotonic() + pause * (0.5 + self._chance() / 2)

    def _sleep_until_due(self) -> bool:
        """False once closed."""
        with self._condition:
            while not self._is_closed:
                seconds = self._seconds_until_due()
                if seconds is not None and seconds <= 0:
                    return True
                self._condition.wait(None if seconds is None else min(seconds, _LONGEST_SLEEP_SECONDS))
            return False

    def _seconds_until_due(self) -> float | None:
        """Until the next attempt; None: when somebody asks."""
        pause = self._not_before - self._monotonic() if self._attempts else 0.0
        if self._demand or self._current is None or self._last_error:
            is_wanted = self._asked or bool(self._demand)
            return max(0.0, pause) if is_wanted else None
        if self._current.expires_at is None:
            return None
        spacing = self._patience.between_renewals - self._patience.first_retry
        return max(self._current.expires_at - self._ahead - self._wall(), pause + max(0.0, spacing))
