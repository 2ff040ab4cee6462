"""Flags, and the environment variables of the real component."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from stream_manager_local.command import parser
from stream_manager_local.settings import OPTIONS, Settings, SettingsError, settings_from

REAL = {
    "STREAM_MANAGER_SERVER_PORT": "9000",
    "STREAM_MANAGER_STORE_ROOT_DIR": "/var/lib/streams",
    "STREAM_MANAGER_AUTHENTICATE_CLIENT": "false",
    "STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH": "800",
    "STREAM_MANAGER_EXPORTER_THREAD_POOL_SIZE": "7",
    "STREAM_MANAGER_EXPORTER_S3_DESTINATION_MULTIPART_UPLOAD_MIN_PART_SIZE_BYTES": "6291456",
    "LOG_LEVEL": "DEBUG",
}


def test_without_anything_the_server_is_where_clients_look_for_it() -> None:
    settings = settings_from({}, {"XDG_STATE_HOME": "/state"})

    assert (settings.host, settings.port) == ("127.0.0.1", 8088)
    assert settings.root == Path("/state/stream-manager-local")
    assert not settings.authenticate


def test_the_variables_of_the_real_component_are_understood() -> None:
    settings = settings_from({}, REAL)

    assert settings.port == 9000
    assert settings.root == Path("/var/lib/streams")
    assert settings.export_bytes_per_second == 100_000
    assert settings.export_threads == 7
    assert settings.least_part_bytes == 6 << 20
    assert settings.log_level == "DEBUG"


def test_the_short_name_of_the_part_size_is_understood_too() -> None:
    settings = settings_from({}, {"STREAM_MANAGER_MULTIPART_UPLOAD_MIN_PART_SIZE_BYTES": "7MiB"})

    assert settings.least_part_bytes == 7 << 20


def test_a_flag_wins_over_the_environment() -> None:
    assert settings_from({"port": "0", "log_level": "warn"}, REAL).port == 0
    assert settings_from({"log_level": "warn"}, REAL).log_level == "WARN"


def test_a_variable_that_is_empty_counts_as_not_set() -> None:
    assert settings_from({}, dict.fromkeys(REAL, "")).port == 8088


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("STREAM_MANAGER_SERVER_PORT", "http", "STREAM_MANAGER_SERVER_PORT is 'http': it must be an integer"),
        ("STREAM_MANAGER_SERVER_PORT", "65536", "it must be an integer from 0 to 65535"),
        ("STREAM_MANAGER_AUTHENTICATE_CLIENT", "maybe", "it must be true or false"),
        ("STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH", "0", "it must be an integer from 1"),
        ("STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH", "10MB", "in kilobits per second"),
        ("STREAM_MANAGER_EXPORTER_THREAD_POOL_SIZE", "-1", "it must be an integer from 1 to 1000"),
        ("STREAM_MANAGER_MULTIPART_UPLOAD_MIN_PART_SIZE_BYTES", "1024", "it must be from 5242880"),
        ("LOG_LEVEL", "loud", "it must be one of TRACE, DEBUG, INFO, WARN, ERROR"),
        ("AWS_ENDPOINT_URL", "localhost:8333", "it must begin with http:// or https://"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value(variable: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as problem:
        settings_from({}, {variable: value})

    assert said in str(problem.value)
    assert str(problem.value).startswith(f"{variable} is {value!r}: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_message", "0"),
        ("in_progress", "sometimes"),
        ("decode_urls", "always"),
        ("full_status", "19"),
        ("handshake_seconds", "nan"),
        ("handshake_seconds", "soon"),
        ("auth_token", "/does/not/exist"),
    ],
)
def test_a_wrong_flag_is_named(field: str, value: str) -> None:
    field = "most_message_bytes" if field == "max_message" else field
    flag = next(option.flag for option in OPTIONS if option.field == field)

    with pytest.raises(SettingsError) as problem:
        settings_from({field: value}, {})

    assert str(problem.value).startswith(f"{flag} is {value!r}: it ")


def test_a_token_is_enough_to_ask_clients_for_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")

    by_file = settings_from({"auth_token": str(tmp_path / "token")}, {})
    by_variable = settings_from({}, {"STREAM_MANAGER_LOCAL_AUTH_TOKEN": "secret"})
    switched_off = settings_from({"authenticate": "false"}, {"STREAM_MANAGER_LOCAL_AUTH_TOKEN": "secret"})

    assert (by_file.auth_token, by_file.authenticate) == ("secret", True)
    assert (by_variable.auth_token, by_variable.authenticate) == ("secret", True)
    assert not switched_off.authenticate


def test_to_ask_for_a_token_that_nobody_gave_is_a_mistake() -> None:
    with pytest.raises(SettingsError, match="no token is given") as problem:
        settings_from({}, {"STREAM_MANAGER_AUTHENTICATE_CLIENT": "true"})

    assert "STREAM_MANAGER_LOCAL_AUTH_TOKEN" in problem.value.advice


def test_each_setting_has_a_flag_and_each_flag_is_in_the_help() -> None:
    assert {option.field for option in OPTIONS} == {field.name for field in fields(Settings)}
    text = parser().format_help()
    for option in OPTIONS:
        assert option.flag in text
        assert all(variable in text.replace("\n", "").replace(" ", "") for variable in option.variables)
