"""From what was typed to an exit code: usage, help, bugs, pipes that close, and what may not be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO

import pytest

from s3_file_uploader import __version__
from s3_file_uploader.cli import list_command, version_command
from s3_file_uploader.cli.commands import COMMANDS
from s3_file_uploader.cli.exit_codes import EXIT_CODE_TABLE, ExitCode

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from support.commands import Shell

_HEAVY = ("awscrt", "ssl", "asyncio", "tqdm", "yaml")


def test_without_a_command_the_overview_is_shown_and_the_exit_code_is_usage(shell: Shell) -> None:
    answer = shell()

    assert answer.code == ExitCode.USAGE
    assert all(f"  {name}" in answer.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_examples_and_exit_codes(shell: Shell, command: str) -> None:
    answer = shell(command, "--help")

    assert answer.code == ExitCode.DONE
    assert answer.out.startswith(f"usage: s3-file-uploader {command}")
    assert f"examples:\n  s3-file-uploader {command}" in answer.out
    assert all(f"{code:d}  {meaning}" in answer.out for code, meaning in EXIT_CODE_TABLE.items())
    assert shell("help", command).out == answer.out


def test_commands_that_only_ask_show_few_settings_and_take_all(shell: Shell, state: Path) -> None:
    help_text = shell("status", "--help").out

    assert "--state-directory" in help_text
    assert "--settle-time" not in help_text
    assert "no ledger" in shell("status", "--settle-time", "5s").err


@pytest.mark.parametrize(
    ("command", "named"), [("drain", "drain"), ("run", "run"), ("check", "check"), ("status", "run")]
)
def test_what_is_wrong_with_the_settings_names_the_help_of_the_command_that_was_typed(
    shell: Shell, command: str, named: str
) -> None:
    answer = shell(command, "/data", "s3://bucket", "--settle-time", "soon")
    assert f"`s3-file-uploader {named} --help` lists all settings" in answer.err
    assert "--settle-time" in shell(named, "--help").out


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["stauts"], "did you mean status?"),
        (["run", "/data", "s3://b", "--endpoint-ulr", "x"], "did you mean --endpoint-url?"),
        (["run", "/data", "s3://b", "--no-such-thing-at-all"], "--no-such-thing-at-all"),
        (["list", "--limit", "many"], "--limit"),
        (["list", "--limit", "-1"], "--limit"),
        (["list", "--state", "lost"], "lost"),
        (["ledger", "burn"], "burn"),
        (["explain"], "FILE"),
        (["retry"], "--all"),
        (["retry", "--all", "/a"], "--all"),
        (["run"], "PathName is missing"),
        (["run", "/data/*", "bucket"], "s3://bucket/prefix"),
        (["run", "a.csv", "b.csv", "s3://bucket/prefix"], "must stand in quotes"),
        (["drain", "/data/*", "s3://bucket/prefix", "--json"], "--json goes with --dry-run"),
    ],
)
def test_a_mistake_exits_with_2_says_what_and_what_to_try(
    shell: Shell, state: Path, typed: list[str], said: str
) -> None:
    answer = shell(*typed)

    assert answer.code == ExitCode.USAGE
    assert said in answer.err
    assert answer.err.rstrip().rpartition("\n")[2].startswith("Try: ")
    assert answer.out == ""


def test_version_tells_the_version_and_as_json_those_of_the_libraries(shell: Shell) -> None:
    assert shell("version").out.startswith(f"s3-file-uploader {__version__} ")
    assert shell("--version").out == f"s3-file-uploader {__version__}\n"

    versions = shell("version", "--json").json["versions"]

    assert versions["s3-file-uploader"] == __version__
    assert set(versions) > {"python", "sqlite", "awscrt"}


def test_a_bug_leaves_a_report_ready_to_paste_without_secrets(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(arguments: argparse.Namespace, out: TextIO) -> int:
        raise ZeroDivisionError("x-amz-security-token: abcdefghijklmnop")

    monkeypatch.setattr(version_command, "run", run)

    answer = shell("version")

    assert answer.code == ExitCode.BUG
    assert f"s3-file-uploader {__version__}, Python 3." in answer.err
    assert "Traceback" in answer.err
    assert "ZeroDivisionError" in answer.err
    assert "abcdefgh" not in answer.err


def test_ctrl_c_exits_with_130_and_says_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(arguments: argparse.Namespace, out: TextIO) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(version_command, "run", run)

    assert shell("version") == type(shell("version"))(ExitCode.INTERRUPTED, "", "")


def test_each_command_has_a_module_that_keeps_to_the_table() -> None:
    for command in COMMANDS.values():
        module = command.module()
        assert callable(module.add_arguments)
        assert callable(module.run)
    assert list_command.__doc__ is not None


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "typed",
    [["version"], ["--help"], ["status", "--help"], ["status", "--name", "x"], ["list", "--name", "x"]],
)
def test_what_must_answer_at_once_imports_nothing_heavy(tmp_path: Path, typed: list[str]) -> None:
    code = (
        "import sys\n"
        "from s3_file_uploader.cli import main\n"
        "try:\n"
        f"    main({typed!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        f"print([name for name in {_HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )

    outcome = _run(code, XDG_STATE_HOME=str(tmp_path))

    assert outcome.stderr.splitlines()[-1] == "[]"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "s3_file_uploader", "config", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    process.stdout.close()

    assert process.wait() == ExitCode.DONE
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_any_name_can_be_printed_on_a_terminal_that_knows_ascii_only() -> None:
    outcome = _run(
        "from s3_file_uploader.cli import main\n"
        "import sys\n"
        "sys.exit(main(['status', '--name', 'x', '--state-directory', '/tmp/\\u00fc']))",
        PYTHONIOENCODING="ascii:strict",
    )

    assert (outcome.returncode, "Traceback" in outcome.stderr) == (0, False)
    assert "\\xfc" in outcome.stdout


def test_advice_on_a_mistake_is_not_a_command_that_makes_the_same_mistake(shell: Shell, state: Path) -> None:
    assert "run '/data/*.csv' s3://bucket/prefix" in shell("config", "show").err
    assert (
        "`s3-file-uploader config show`" not in shell("run", "/data/*", "s3://bucket", "--interval", "x").err
    )


def test_a_full_disk_below_the_output_is_no_bug() -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        outcome = subprocess.run(
            [sys.executable, "-m", "s3_file_uploader", "config", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert outcome.returncode == ExitCode.USAGE
    assert outcome.stderr.startswith(
        "s3-file-uploader: the output cannot be written: No space left on device"
    )
    assert "Try: " in outcome.stderr


def test_no_file_gets_the_number_of_a_standard_stream_that_was_closed(tmp_path: Path) -> None:
    """A stray message would be written into it."""
    program = (
        "import os, sys\n"
        "for number in (0, 1, 2): os.close(number)\n"
        "sys.stdout = sys.stderr = None\n"
        "from s3_file_uploader.cli import main\n"
        "code = main(['version'])\n"
        "where = [os.readlink(f'/proc/self/fd/{number}') for number in (0, 1, 2)]\n"
        f"open({str(tmp_path / 'said')!r}, 'w').write(f'{{code}} {{where}}')"
    )
    subprocess.run([sys.executable, "-c", program], check=False)

    assert (tmp_path / "said").read_text(encoding="ascii") == f"0 {['/dev/null'] * 3}"
