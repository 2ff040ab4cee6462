"""The log: readable by people and programs, and never with a secret in it."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import s3_file_uploader
from s3_file_uploader.errors import Refused
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import printable
from s3_file_uploader.observe import log as log_module
from s3_file_uploader.observe.log import EVENTS, FIELDS, conceal, configure, log
from s3_file_uploader.transport.s3.credentials import Credentials
from s3_file_uploader.transport.s3.sigv4 import EMPTY_SHA256, Signer

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEBYaDGRlbW8vdG9rZW4gd2l0aCBzbGFzaGVz//+=="
CREDENTIALS = Credentials(ACCESS_KEY, SECRET, TOKEN, 2e9)


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = log.logger
    before = (list(logger.handlers), logger.propagate, logger.level)
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])
    log_module._concealed.clear()


def written(log_format: str = "text", level: str = "DEBUG") -> io.StringIO:
    stream = io.StringIO()
    configure(level, log_format, stream)
    return stream


def test_a_line_has_a_time_a_level_an_event_and_its_fields_in_order() -> None:
    stream = written()

    log.info("delivered", rule="default", path=b"/data/a.csv", key="p/a.csv", size=123)

    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO delivered "
        r"rule=default path=/data/a\.csv key=p/a\.csv size=123\n",
        stream.getvalue(),
    )


def test_json_lines_carry_numbers_as_numbers() -> None:
    stream = written("json")

    log.warning("retry", path=b"/data/\xff.csv", attempt=2, wait_seconds=1.23456, state=State.READY)

    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING",
        "event": "retry",
        "path": "/data/\\xff.csv",
        "attempt": 2,
        "wait_seconds": 1.235,
        "state": "ready",
    }


def test_a_line_below_the_level_is_not_written() -> None:
    stream = written(level="WARNING")

    log.debug("sending", path=b"/a")
    log.info("delivered", path=b"/a")
    log.warning("retry", path=b"/a")

    assert [line.split()[2] for line in stream.getvalue().splitlines()] == ["retry"]


def test_an_error_says_what_to_try() -> None:
    stream = written()

    log.error("parked", path=b"/a", error=Refused("the store says no"))
    log.error("parked", path=b"/a", reason="no", advice="ask")

    first, second = stream.getvalue().splitlines()
    assert 'error="the store says no"' in first
    assert f'try="{Refused.advice}"' in first
    assert second.endswith("reason=no try=ask")


def _parsed(line: str) -> dict[str, str]:
    """A line's fields as a program that reads key=value would have them."""
    found = re.findall(r' (\w+)=("(?:[^"\\]|\\.)*"|[^\s"]*)', line)
    return {name: json.loads(value) if value.startswith('"') else value for name, value in found}


@given(st.text(), st.binary())
def test_any_text_and_any_path_stay_on_one_line_and_can_be_read_back(text: str, path: bytes) -> None:
    stream = written()

    log.info("delivered", reason=text.replace("\0", ""), path=path)

    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    fields = _parsed(line[:-1].partition("delivered")[2])
    assert fields["path"] == printable(path)
    if "[secret]" not in line:
        assert fields["reason"] == text.replace("\0", "")


def test_a_log_that_cannot_be_written_disturbs_nobody() -> None:
    stream = written()
    stream.close()

    log.info("delivered", path=b"/a")


def _signed() -> dict[str, str]:
    return Signer("eu-central-1").sign(
        "PUT",
        "bucket.s3.eu-central-1.amazonaws.com",
        "/key",
        "",
        {},
        credentials=CREDENTIALS,
        payload_hash=EMPTY_SHA256,
        now=1.7e9,
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "value",
    [
        CREDENTIALS,
        {"secret_access_key": SECRET},
        [CREDENTIALS],
        str(_signed()),
        _signed(),
        _signed()["authorization"],
        f"authorization: {_signed()['authorization']}",
        ValueError(f"bad header x-amz-security-token: {TOKEN}"),
        f"https://b.s3.amazonaws.com/k?X-Amz-Credential={ACCESS_KEY}%2F20200101&X-Amz-Signature=0a1b2c&x=y",
        f"https://b.s3.amazonaws.com/k?X-Amz-Security-Token={TOKEN}",
        f"AWS_SECRET_ACCESS_KEY={SECRET} AWS_SESSION_TOKEN={TOKEN}",
        f'{{"SecretAccessKey": "{SECRET}"}}',
        f"http://user:{SECRET.replace('/', '')}@localhost:8333",
        f"key {ACCESS_KEY} is unknown",
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_credential_gets_into_a_line(value: object, log_format: str) -> None:
    stream = written(log_format)

    log.error("failed", error=value)

    line = stream.getvalue()
    signature = _signed()["authorization"].rpartition("=")[2]
    for secret in (ACCESS_KEY, SECRET, SECRET.replace("/", ""), TOKEN, TOKEN[:20], signature, "0a1b2c"):
        assert secret not in line


@pytest.mark.parametrize("name", ["secret", "password", "authorization", "session_token", "credentials"])
def test_a_field_that_is_named_like_a_secret_is_masked_whatever_it_holds(name: str) -> None:
    stream = written()

    log.info("started", **{name: "harmless"})

    assert "harmless" not in stream.getvalue()


def test_a_secret_that_was_told_is_masked_wherever_it_turns_up() -> None:
    stream = written()
    conceal("my private words", None, "short")

    log.error("failed", error=ValueError("the body was: my private words."), path=b"/my private words")
    log.info("started", reason="short")

    assert "private" not in stream.getvalue()
    assert "reason=short" in stream.getvalue()


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not/of/any/known/shape")
    stream = written()

    log.error("failed", error=OSError("cannot resolve not/of/any/known/shape"))

    assert "known/shape" not in stream.getvalue()


def test_ordinary_text_is_left_alone() -> None:
    stream = written()
    text = "token bucket is empty, signature checked, author: me, https://host:80/a@b, awsome"

    log.info("started", reason=text)

    assert json.dumps(text) in stream.getvalue()


def test_every_event_and_field_in_the_source_is_in_the_tables() -> None:
    unknown = []
    for path in Path(s3_file_uploader.__file__).parent.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _is_log_call(call.func):
                unknown += [f"{path.name}: {name}" for name in _names(call)]

    assert unknown == []


def _is_log_call(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "log"
        and function.attr in ("debug", "info", "warning", "error")
    )


def _names(call: ast.Call) -> Iterator[str]:
    event = call.args[0]
    if isinstance(event, ast.Constant) and event.value not in EVENTS:
        yield str(event.value)
    for keyword in call.keywords:
        if keyword.arg is not None and keyword.arg not in FIELDS:
            yield keyword.arg
