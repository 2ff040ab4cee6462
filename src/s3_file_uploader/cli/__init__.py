"""The command line: what a person types, and what is answered.

| file | responsibility |
|---|---|
| `program` | from arguments to an exit code, whatever happens on the way |
| `commands` | the table of commands |
| `exit_codes` | the table of exit codes |
| `parser` | argparse, with our errors and our help |
| `places` | which settings and which ledger a command is about |
| `remembered` | the settings of the last run, kept in the ledger |
| `presentation` | numbers, times and paths as people read them |
| `progress` | the bar of `drain` |
| `uploading` | what `run` and `drain` share: the uploader's life and signals |
| `*_command` | one command each |
| `doctor/` | what `check` looks at |

A command's module has `add_arguments(parser)` and `run(arguments, out) -> int`, and is imported only
when it is typed: `version`, `--help` and `status` must answer at once on a small device.
"""

from __future__ import annotations

from s3_file_uploader.cli.program import main

__all__ = ["main"]
