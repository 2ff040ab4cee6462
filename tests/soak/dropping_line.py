"""One large file over a line that drops all its connections every few seconds, by the real command.

`python tests/soak/dropping_line.py [--bytes N] [--every SECONDS] [--rate BYTES_PER_SECOND]`. The store is a
scripted one that keeps of each part its number, size and CRC64NVME only, so that 10 GB cost no memory; the file is
a sparse one in which each MiB says where it is. At the end all parts are compared with the file, each must have
arrived exactly once, and the file must be gone. Exits with 1 where that is not so.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from awscrt.checksums import crc64nvme

from s3_file_uploader.transport.s3.crt import encode_crc64
from support.scripted_s3 import ECHO, Line, Request, ScriptedS3

MIB = 1024 * 1024


class PartsOnly:
    """A store of one upload at a time, and the line to it: `drop` cuts all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: set[Line] = set()
        self.parts: dict[int, tuple[int, int]] = {}  # number → size, checksum
        self.arrived: Counter[int] = Counter()  # how often the last byte of a part came in
        self.begun = self.read_bytes = self.drops = self.cut = 0
        self.completed: str | None = None  # the checksum of the whole that was announced

    def __call__(self, line: Line) -> None:
        with self._lock:
            self._lines.add(line)
        try:
            while (request := line.request()) is not None:
                if "expect" in request.headers:
                    line.proceed()
                body = line.body(request.size)
                self.read_bytes += len(body)
                if len(body) < request.size:
                    return
                self._answer(line, request, body)
        finally:
            with self._lock:
                self._lines.discard(line)

    def drop(self) -> None:
        with self._lock:
            self.drops += 1
            self.cut += len(self._lines)
            for line in self._lines:
                line.drop()

    def _answer(self, line: Line, request: Request, body: bytes) -> None:
        if request.method == "POST" and "uploads" in request.query:
            self.begun += 1
            line.answer(body=_xml("InitiateMultipartUploadResult", "<UploadId>u1</UploadId>"))
        elif request.method == "PUT":
            self._store(line, int(request.query["partNumber"]), body)
        elif request.method == "GET":
            line.answer(body=self._listing(int(request.query["part-number-marker"])))
        elif request.method == "POST":
            self.completed = request.headers[ECHO]
            told = f"<ETag>e</ETag><ChecksumCRC64NVME>{self.completed}</ChecksumCRC64NVME>"
            line.answer(body=_xml("CompleteMultipartUploadResult", told))
        else:
            line.refuse(501, "NotImplemented")

    def _store(self, line: Line, number: int, body: bytes) -> None:
        value = crc64nvme(body)
        with self._lock:
            self.arrived[number] += 1
            self.parts[number] = len(body), value
        line.answer(200, {ECHO: encode_crc64(value), "etag": '"e"'})

    def _listing(self, after: int) -> bytes:
        with self._lock:
            rows = "".join(
                f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size><ETag>e</ETag>"
                f"<ChecksumCRC64NVME>{encode_crc64(value)}</ChecksumCRC64NVME></Part>"
                for number, (size, value) in sorted(self.parts.items())
                if number > after
            )
        return _xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{rows}")


def _xml(name: str, inner: str) -> bytes:
    return f"<{name}>{inner}</{name}>".encode()


def new_file(path: Path, size: int) -> None:
    """Sparse, and no two MiB of it alike."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size - 8, MIB):
            file.seek(offset)
            file.write(offset.to_bytes(8, "big"))


def wrong_in(seen: PartsOnly, expected: dict[int, tuple[int, int]], whole: str) -> list[str]:
    """What is not as it must be."""
    again = {number: count for number, count in seen.arrived.items() if count > 1}
    found = {
        f"parts that came twice: {again}": again,
        "the parts are not the file's": seen.parts != expected,
        f"{seen.begun} uploads were begun": seen.begun != 1,
        f"completed with {seen.completed}, and the file has {whole}": seen.completed != whole,
    }
    return [what for what, is_so in found.items() if is_so]


def checksums_of(path: Path, part_size: int) -> tuple[dict[int, tuple[int, int]], str]:
    """By part, as the store keeps them, and of the whole in one pass."""
    parts: dict[int, tuple[int, int]] = {}
    whole = 0
    with path.open("rb") as file:
        while content := file.read(part_size):
            parts[len(parts) + 1] = len(content), crc64nvme(content)
            whole = crc64nvme(content, whole)
    return parts, encode_crc64(whole)


def main(size: int, every_seconds: float, rate: str) -> int:
    seen, is_over = PartsOnly(), threading.Event()

    def drop_now_and_then() -> None:
        while not is_over.wait(every_seconds):
            seen.drop()

    with tempfile.TemporaryDirectory(prefix="dropping-line-") as folder, ScriptedS3(seen) as store:
        path = Path(folder, "out", "large.bag")
        path.parent.mkdir()
        new_file(path, size)
        kept = Path(folder, "kept")
        os.link(path, kept)  # the file itself is removed once it is proven
        dropping = threading.Thread(target=drop_now_and_then)
        dropping.start()
        began = time.monotonic()
        try:
            ended = _drain(folder, store.url, rate)
        finally:
            is_over.set()
            dropping.join()
        seconds = time.monotonic() - began
        part_size = max((one for one, _ in seen.parts.values()), default=MIB)
        wrong = wrong_in(seen, *checksums_of(kept, part_size))
        if ended or path.exists():
            wrong.append(
                f"the command ended with {ended}, and the file is {'there' if path.exists() else 'gone'}"
            )
    print(
        f"{size / 1e9:.1f} GB in {len(seen.parts)} parts of {part_size / MIB:g} MiB, {seconds:.0f} s,"
        f" {size / seconds / 1e6:.0f} MB/s; the line dropped {seen.drops} times and cut {seen.cut} connections;"
        f" {(seen.read_bytes - size) / size:.1%} more bytes came in than the file has;"
        f" {sum(seen.arrived.values()) - len(seen.arrived)} parts came twice"
    )
    print("\n".join(wrong) or "nothing wrong")
    return 1 if wrong else 0


def _drain(folder: str, url: str, rate: str) -> int:
    """The real command, until it has sent the file: a drain that gives up on it begins again, as a daemon would."""
    command = [sys.executable, "-m", "s3_file_uploader", "drain", f"{folder}/out/*.bag", "s3://bucket"]
    command += ["--endpoint-url", url, "--state-directory", f"{folder}/state", "--include-active"]
    command += ["--max-bandwidth", rate] if rate else []
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}
    for _ in range(100):
        ended = subprocess.run(command, env={**os.environ, **keys}, check=False).returncode
        if ended == 0:
            break
    return ended


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bytes", type=int, default=10_000_000_000)
    parser.add_argument("--every", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--rate", default="", help="MaxBandwidth of the uploader: 20MB/s")
    typed = parser.parse_args()
    sys.exit(main(typed.bytes, typed.every, typed.rate))
