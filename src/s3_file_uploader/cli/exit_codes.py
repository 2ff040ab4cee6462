"""Exit codes: a stable table, for scripts and service managers."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXIT_CODE_TABLE", "ExitCode"]


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    DESTINATION = 3
    RESTART = 4
    BUG = 70
    INTERRUPTED = 130


EXIT_CODE_TABLE = {
    ExitCode.DONE: "all delivered, or the question answered; files that are only held count as done",
    ExitCode.SOME_FAILED: "some files failed or are parked, or `check` found something to mend",
    ExitCode.USAGE: "usage, configuration, or a ledger that cannot be used",
    ExitCode.DESTINATION: "the destination cannot be reached or refuses everything",
    ExitCode.RESTART: "the Greengrass nucleus is to start the component again: its IPC is gone, or a setting changed that"
    " cannot change while it runs; everything is saved",
    ExitCode.BUG: "a bug: the report on standard error is ready to paste",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}
