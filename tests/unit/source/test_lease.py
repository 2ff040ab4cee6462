from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.lease import LeaseResult
from support.edges import NoLeaseEdge
from support.writers import writer_process

if TYPE_CHECKING:
    from pathlib import Path

EDGE = Edge()


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def test_a_file_that_nobody_writes_gets_a_lease(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    descriptor = opened(tmp_path / "a")
    assert lease.take(EDGE, descriptor) is LeaseResult.GRANTED
    assert lease.still_stands(EDGE, descriptor)
    lease.release(EDGE, descriptor)
    assert not lease.still_stands(EDGE, descriptor)
    lease.release(EDGE, descriptor)
    os.close(descriptor)


def test_a_probe_leaves_no_lease_behind(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    descriptor = opened(tmp_path / "a")
    assert lease.probe(EDGE, descriptor) is LeaseResult.GRANTED
    assert not lease.still_stands(EDGE, descriptor)
    os.close(descriptor)


def test_a_process_that_has_the_file_open_for_writing_is_seen(tmp_path: Path) -> None:
    with writer_process() as writer:
        writer.do("open", str(tmp_path / "a"))
        descriptor = opened(tmp_path / "a")
        assert lease.probe(EDGE, descriptor) is LeaseResult.WRITER
        writer.do("close")
        assert lease.probe(EDGE, descriptor) is LeaseResult.GRANTED
        os.close(descriptor)


def test_a_process_that_has_the_file_mapped_for_writing_is_seen_after_it_closed_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("some content")
    with writer_process() as writer:
        for verb in ("open", "map", "close"):
            writer.do(verb, str(tmp_path / "a"))
        descriptor = opened(tmp_path / "a")
        assert lease.probe(EDGE, descriptor) is LeaseResult.WRITER
        writer.do("unmap")
        assert lease.probe(EDGE, descriptor) is LeaseResult.GRANTED
        os.close(descriptor)


def test_a_writer_that_waits_shows_in_the_lease(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    descriptor = opened(tmp_path / "a")
    assert lease.take(EDGE, descriptor) is LeaseResult.GRANTED
    with writer_process() as writer:
        writer.start("open", str(tmp_path / "a"))
        while lease.still_stands(EDGE, descriptor):
            os.sched_yield()
        lease.release(EDGE, descriptor)
        writer.wait()
    os.close(descriptor)


def test_a_refused_lease_is_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    descriptor = opened(tmp_path / "a")
    assert lease.probe(NoLeaseEdge(), descriptor) is LeaseResult.NO_EVIDENCE
    os.close(descriptor)


def test_a_folder_and_a_pipe_have_no_leases_and_so_no_evidence(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    reading, writing = os.pipe()
    assert lease.probe(EDGE, folder) is LeaseResult.NO_EVIDENCE
    assert lease.probe(EDGE, reading) is LeaseResult.NO_EVIDENCE
    for descriptor in (folder, reading, writing):
        os.close(descriptor)


def test_a_network_file_systems_eagain_is_no_evidence_of_a_writer(tmp_path: Path) -> None:
    class Mounted(Edge):
        def set_lease(self, descriptor: int, kind: int) -> None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        def is_on_network(self, descriptor: int) -> bool:
            return self.answer

        answer = True

    (tmp_path / "a").write_text("x")
    descriptor = opened(tmp_path / "a")
    edge = Mounted()
    assert lease.probe(edge, descriptor) is LeaseResult.NO_EVIDENCE
    edge.answer = False
    assert lease.probe(edge, descriptor) is LeaseResult.WRITER
    os.close(descriptor)


def test_a_local_disk_is_not_taken_for_a_network_one(tmp_path: Path) -> None:
    descriptor = opened(tmp_path)
    assert not EDGE.is_on_network(descriptor)
    os.close(descriptor)


HOLDER = """
import os, signal, sys, time
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import Edge
signal.signal(signal.SIGIO, signal.SIG_DFL)
if sys.argv[2] == "ignore":
    lease.ignore_lease_signal()
    assert signal.getsignal(signal.SIGIO) is signal.SIG_IGN
edge = Edge()
descriptor = os.open(sys.argv[1], os.O_RDONLY)
assert lease.take(edge, descriptor) is lease.LeaseResult.GRANTED
print("held", flush=True)
while lease.still_stands(edge, descriptor):
    time.sleep(0.001)
lease.release(edge, descriptor)
print("survived", flush=True)
"""


def hold_while_somebody_opens_to_write(path: Path, disposition: str) -> tuple[str, int]:
    command = [sys.executable, "-c", HOLDER, str(path), disposition]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with path.open("a"):  # waits until the lease is given back, or its holder is dead
            pass
        return holder.stdout.read(), holder.wait()


def test_the_process_survives_a_broken_lease_with_sigio_ignored(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert hold_while_somebody_opens_to_write(tmp_path / "a", "ignore") == ("survived\n", 0)


def test_the_process_survives_a_broken_lease_even_if_nobody_ignored_sigio(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    assert hold_while_somebody_opens_to_write(tmp_path / "a", "default") == ("survived\n", 0)


def test_sigio_would_kill_without_our_choice_of_another_signal(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    program = HOLDER.replace("edge = Edge()", "edge = Edge(); edge.set_lease_signal = lambda *a: None")
    command = [sys.executable, "-c", program, str(tmp_path / "a"), "default"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (tmp_path / "a").open("a"):
            pass
        assert holder.wait() == -signal.SIGIO
