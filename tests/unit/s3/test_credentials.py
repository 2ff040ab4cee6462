"""Against the real chain of awscrt and real servers on loopback; nothing of ours is replaced."""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import Misconfigured, Unreachable
from s3_file_uploader.transport.s3.credential_advice import describe_chain
from s3_file_uploader.transport.s3.credentials import Credentials, CredentialSource, Patience
from s3_file_uploader.transport.s3.crt import ChainError, fetch_credentials
from support.credential_server import CredentialServer, credential_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = Patience(ahead=0.2, ahead_jitter=0.0, between_renewals=0.02, first_retry=0.01, last_retry=0.05)
LONG_SECONDS = 30.0  # a limit for what is waited for, never a time that is measured


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


@pytest.fixture
def server() -> Iterator[CredentialServer]:
    with credential_server() as state:
        yield state


@pytest.fixture
def open_source() -> Iterator[Callable[..., CredentialSource]]:
    sources: list[CredentialSource] = []

    def opened(*arguments: object, **options: object) -> CredentialSource:
        source = CredentialSource(*arguments, **{"patience": QUICK, **options})  # type: ignore[arg-type] # passed on as given
        sources.append(source)
        return source

    yield opened
    for source in sources:
        source.close()


def write_profiles(home: Path, text: str) -> None:
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "credentials").write_text(text)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_token_exchange_service_is_asked_with_its_token(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    server.token = "token of the device"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", server.token)

    credentials = open_source().wait(LONG_SECONDS)

    assert server.asked == [("/2016-11-01/credentialprovider/", "token of the device")]
    assert credentials is not None
    assert credentials.access_key_id == "KEY-1"
    assert credentials.secret_access_key == "THE-SECRET"
    assert credentials.session_token == "THE-TOKEN"
    assert credentials.expires_at is not None
    assert 3500 < credentials.expires_at - time.time() < 3700


def test_the_service_is_found_by_the_name_localhost(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url.replace("127.0.0.1", "localhost"))

    assert open_source().wait(LONG_SECONDS) is not None


def test_the_token_of_a_file_is_read_anew_for_each_fetch(
    monkeypatch: pytest.MonkeyPatch,
    server: CredentialServer,
    open_source: Callable[..., CredentialSource],
    tmp_path: Path,
) -> None:
    token_file = tmp_path / "token"
    token_file.write_text("first")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token_file))
    source = open_source()

    source.wait(LONG_SECONDS)
    token_file.write_text("second")
    source.refresh("ExpiredToken")
    source.wait(LONG_SECONDS)

    assert [authorization for _, authorization in server.asked] == ["first", "second"]


def test_a_refused_token_is_an_error_that_names_what_to_look_at(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    server.token = "right"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "WRONG-TOKEN")
    source = open_source()

    assert source.wait(LONG_SECONDS) is None
    assert f"container: {server.url} gave none" in source.last_error
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN" in source.last_error
    assert "WRONG-TOKEN" not in source.last_error
    assert "THE-SECRET" not in source.last_error
    assert isinstance(source.failure(), Unreachable)


def test_a_failing_service_is_asked_again_while_somebody_wants_credentials(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    server.failing = True
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source()
    assert source.wait(LONG_SECONDS) is None

    server.failing = False
    wait_until(lambda: source.current() is not None)

    assert source.last_error == ""


def test_an_expired_token_is_exchanged_once_however_often_it_is_said(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source()
    source.wait(LONG_SECONDS)
    server.arrived.acquire()

    server.gate.clear()
    for _ in range(50):
        source.refresh("ExpiredToken")
    server.arrived.acquire()
    for _ in range(50):
        source.refresh("ExpiredToken")
    during = source.current()
    server.gate.set()
    after = source.wait(LONG_SECONDS)

    assert during is not None
    assert during.access_key_id == "KEY-1"
    assert after is not None
    assert after.access_key_id == "KEY-2"
    assert not source.is_refreshing
    assert len(server.asked) == 2


def test_credentials_are_renewed_before_they_expire_without_being_asked_for(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    server.lifetime_seconds = 2.0
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source()
    source.wait(LONG_SECONDS)

    wait_until(lambda: len(server.asked) >= 2)

    wait_until(lambda: (source.current() or Credentials("", "")).access_key_id != "KEY-1")


def test_a_server_that_is_neither_loopback_nor_tls_is_never_told_the_token(
    monkeypatch: pytest.MonkeyPatch, open_source: Callable[..., CredentialSource]
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/credentials?key=SECRET-1")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "SECRET-2")
    source = open_source()

    assert source.wait(LONG_SECONDS) is None
    assert "must be a loopback address" in source.last_error
    assert "SECRET" not in source.last_error.replace("AWS_SECRET_ACCESS_KEY", "")


def test_the_metadata_of_an_instance_is_asked_last(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.port}")

    credentials = open_source().wait(LONG_SECONDS)

    assert server.asked[-1][0] == "/latest/meta-data/iam/security-credentials/role-of-the-instance"
    assert credentials is not None
    assert credentials.session_token == "THE-TOKEN"


def test_the_environment_comes_first_and_is_fetched_once(
    monkeypatch: pytest.MonkeyPatch, home: Path, open_source: Callable[..., CredentialSource]
) -> None:
    write_profiles(home, "[default]\naws_access_key_id=of-profile\naws_secret_access_key=x\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    attempts: list[None] = []
    source = open_source(changed=lambda: attempts.append(None))

    credentials = source.wait(LONG_SECONDS)
    wait_until(lambda: bool(attempts))
    for _ in range(100):
        assert source.current() is credentials

    assert credentials == Credentials("of-environment", "x")
    assert len(attempts) == 1


def test_a_profile_that_is_set_is_the_only_one_asked(
    monkeypatch: pytest.MonkeyPatch, home: Path, open_source: Callable[..., CredentialSource]
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    write_profiles(home, "[line]\naws_access_key_id=of-line\naws_secret_access_key=y\n")

    found, missing = open_source("line"), open_source("other")

    assert found.wait(LONG_SECONDS) == Credentials("of-line", "y")
    assert missing.wait(LONG_SECONDS) is None
    assert "profile: 'other' in ~/.aws/credentials gives none" in missing.last_error
    assert "environment" not in missing.last_error
    assert isinstance(missing.failure(), Misconfigured)


@pytest.mark.parametrize("profile", ["", "line"])
def test_the_process_of_a_profile_is_run(
    home: Path, open_source: Callable[..., CredentialSource], profile: str
) -> None:
    program = home / "issue-credentials"
    program.write_text('#!/bin/sh\necho \'{"Version":1,"AccessKeyId":"of-process","SecretAccessKey":"z"}\'\n')
    program.chmod(stat.S_IRWXU)
    (home / ".aws").mkdir()
    section = f"[profile {profile}]" if profile else "[default]"
    (home / ".aws" / "config").write_text(f"{section}\ncredential_process = {program}\n")

    assert open_source(profile).wait(LONG_SECONDS) == Credentials("of-process", "z")


def test_a_profile_written_later_is_found_without_a_restart(
    home: Path, open_source: Callable[..., CredentialSource]
) -> None:
    source = open_source()
    assert source.wait(LONG_SECONDS) is None

    write_profiles(home, "[default]\naws_access_key_id=late\naws_secret_access_key=x\n")

    wait_until(lambda: source.current() == Credentials("late", "x"))


def test_without_any_credentials_each_way_to_give_them_is_named(
    open_source: Callable[..., CredentialSource],
) -> None:
    source = open_source()

    assert source.wait(LONG_SECONDS) is None
    assert source.current() is None
    failure = source.failure()
    assert isinstance(failure, Misconfigured)
    assert failure.code == "NoCredentials"
    for words in (
        "environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set",
        "profile: no 'default': neither ~/.aws/credentials nor ~/.aws/config exists",
        "web identity: AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE not set",
        "container: AWS_CONTAINER_CREDENTIALS_FULL_URI not set",
        "instance metadata: off (AWS_EC2_METADATA_DISABLED)",
    ):
        assert words in str(failure)


def test_who_asks_never_waits(
    monkeypatch: pytest.MonkeyPatch, server: CredentialServer, open_source: Callable[..., CredentialSource]
) -> None:
    server.gate.clear()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source()

    assert source.current() is None  # the server answers only after these lines
    source.refresh("ExpiredToken")
    assert isinstance(source.failure(), Unreachable)
    server.arrived.acquire()

    server.gate.set()
    assert source.wait(LONG_SECONDS) is not None


@pytest.mark.parametrize("years", [-50, 50])
def test_a_wrong_clock_neither_withholds_credentials_nor_spins(
    monkeypatch: pytest.MonkeyPatch,
    server: CredentialServer,
    open_source: Callable[..., CredentialSource],
    years: int,
) -> None:
    server.numbered = False
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source(patience=Patience(), wall=lambda: time.time() + years * 31_557_600)

    assert source.wait(LONG_SECONDS) is not None
    for _ in range(1000):
        assert source.current() is not None

    assert len(server.asked) == 1


def test_what_is_handed_out_unchanged_is_asked_for_ever_more_rarely(
    open_source: Callable[..., CredentialSource],
) -> None:
    fetched = threading.Semaphore(0)
    moments: list[float] = []

    def fetch(profile: str, timeout_seconds: float) -> tuple[str, str, str | None, float | None]:
        moments.append(time.monotonic())
        fetched.release()
        return "id", "secret", "old token", None

    patience = Patience(first_retry=0.02, last_retry=10.0)
    source = open_source(fetch=fetch, patience=patience, chance=lambda: 1.0)
    source.wait(LONG_SECONDS)
    fetched.acquire()
    for _ in range(4):
        source.refresh("ExpiredToken")
        fetched.acquire()

    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert all(pause >= least for pause, least in zip(pauses, (0.02, 0.04, 0.08, 0.16), strict=True))


def test_a_fetch_that_breaks_in_an_unexpected_way_ends_no_thread_and_tells_no_secret(
    open_source: Callable[..., CredentialSource],
) -> None:
    failures = [ValueError("THE-SECRET")]

    def fetch(profile: str, timeout_seconds: float) -> tuple[str, str, str | None, float | None]:
        if failures:
            raise failures.pop()
        return "id", "secret", None, None

    source = open_source(fetch=fetch)

    assert source.wait(LONG_SECONDS) is None
    assert "unexpected ValueError" in source.last_error
    assert "THE-SECRET" not in source.last_error
    wait_until(lambda: source.current() is not None)


def credential_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "s3fu-credentials"]


def test_one_named_daemon_thread_fetches_and_ends_when_closed() -> None:
    before = set(credential_threads())
    source = CredentialSource()
    assert set(credential_threads()) == before

    source.wait(LONG_SECONDS)
    (thread,) = set(credential_threads()) - before
    assert thread.daemon

    source.close()
    thread.join(LONG_SECONDS)
    assert not thread.is_alive()
    assert source.wait(LONG_SECONDS) is None


def test_between_fetches_awscrt_keeps_no_thread(open_source: Callable[..., CredentialSource]) -> None:
    def all_threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = all_threads()
    source = open_source()
    source.wait(LONG_SECONDS)

    wait_until(lambda: all_threads() <= before + 1)


def test_no_text_and_no_log_line_of_a_source_holds_a_secret(
    monkeypatch: pytest.MonkeyPatch,
    server: CredentialServer,
    open_source: Callable[..., CredentialSource],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)
    source = open_source()
    source.wait(LONG_SECONDS)

    texts = [repr(source), str(source), repr(source.current()), source.last_error, caplog.text]

    assert not [text for text in texts for word in ("KEY-1", "THE-SECRET", "THE-TOKEN") if word in text]


def test_what_each_provider_lacks_is_told_from_its_settings(tmp_path: Path) -> None:
    present = tmp_path / "present"
    present.write_text("x")
    environment = {
        "AWS_ACCESS_KEY_ID": "THE-ID",
        "AWS_CONFIG_FILE": str(present),
        "AWS_ROLE_ARN": "arn:aws:iam::1:role/r",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "absent"),
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://user:THE-SECRET@host:8443/path?THE-SECRET",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "absent"),
    }

    text = describe_chain(environment, "", "reason")

    assert "environment: AWS_SECRET_ACCESS_KEY not set;" in text
    assert f"'default' in {present} gives none" in text
    assert "the file of AWS_WEB_IDENTITY_TOKEN_FILE cannot be read" in text
    assert "https://host:8443/path gave none" in text
    assert "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE that cannot be read" in text
    assert "instance metadata: gave none" in text
    assert "THE-" not in text


def test_what_somebody_has_set_up_is_told_first() -> None:
    text = describe_chain({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:1/x"}, "", "reason")

    assert text.startswith("container: http://localhost:1/x gave none")
    assert "; environment: " in text


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"},
            "environment: set, but could not be used;",
        ),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "169.254.170.2 gave none"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[x"}, "which is malformed"),
        (
            {"AWS_ROLE_ARN": "x", "AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null"},
            "web identity: set, but STS gave none;",
        ),
    ],
)
def test_what_is_set_and_still_gives_none_is_told_apart(environment: dict[str, str], words: str) -> None:
    assert words in describe_chain(environment, "", "reason")


def test_a_fetch_has_a_time_limit(monkeypatch: pytest.MonkeyPatch, server: CredentialServer) -> None:
    server.gate.clear()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url)

    with pytest.raises(ChainError, match="no answer within"):
        fetch_credentials("", 0.05)
