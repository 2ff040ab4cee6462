"""A million files in the ledger: what runs all the time finds its rows by an index."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Clock, Uploader
from s3_file_uploader.pipeline.outcome import is_done
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import rule, settings, until

if TYPE_CHECKING:
    from pathlib import Path

# Asked for once in a run: at its start, or at its end.
_ONCE = ("SELECT count(*), coalesce(sum(size)", "GROUP BY state", "file.mtime_ns, file.name LIMIT 10000")


def test_no_statement_of_a_running_daemon_reads_all_files(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}").write_bytes(b"x")
    made = settings(tmp_path / "state", rule(folder))
    ledger = Ledger.open(made.state_directory, made.name)
    statements: set[str] = set()
    faults = iter([Fault.BROKEN, Fault.REFUSED])
    transport = FakeTransport(script=lambda _delivery: next(faults, Fault.NONE))

    async def scenario() -> None:
        uploader = Uploader(made, ledger, transports=lambda _: transport)
        task = asyncio.ensure_future(uploader.run())
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        ledger.connection.set_trace_callback(statements.add)
        (folder / "late").write_bytes(b"y")
        (folder / "19").unlink()
        await until(lambda: uploader.progress.files_removed >= 18, "the removals")
        uploader.stop()
        ledger.connection.set_trace_callback(None)
        await task

    asyncio.run(scenario())
    ledger.connection.set_trace_callback(statements.add)
    is_done(ledger, Clock())
    ledger.connection.set_trace_callback(None)
    for statement in sorted(statements):
        if not re.match("SELECT|UPDATE|DELETE", statement) or any(once in statement for once in _ONCE):
            continue
        plan = [row[3] for row in ledger.connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [line for line in plan if re.match("SCAN (TABLE )?file", line) and "USING" not in line], (
            statement
        )
    ledger.close()
