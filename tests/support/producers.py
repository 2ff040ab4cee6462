"""Producers for the soak: real processes that write into one folder, each in a way of its own.

Every producer keeps a record, one JSON line per event, flushed before the event can be seen by
anybody else: so whatever appears in the bucket must stand in a record that is read afterwards.

    {"finished": NAME, "sha256": ..., "size": ...}   this version is about to be closed or renamed into place
    {"overwritten": NAME, "sha256": ...}             this version still stood there when its producer replaced it
    {"opened": NAME}                                 kept open, and unfinished, until standard input ends

Names are in hexadecimal. Run as a program it takes one JSON object and uses the standard library only.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import random
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TextIO

__all__ = ["LONGEST_NAME_BYTES", "TEMPORARY", "WAYS", "Order", "Records", "hostile_name"]

TEMPORARY = b".part"
LONGEST_NAME_BYTES = 255
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_MULTIPART_SIZES = (16 * 1024 * 1024, 16 * 1024 * 1024 + 1, 20_000_000, 17_000_000)
_libc = ctypes.CDLL(None, use_errno=True)

# What has broken programs that handle names. `{}` stands for what makes each of them the only one.
_NAMES = (
    b"plain-{}.csv",
    b"with space {}.csv",
    b" leading space {}",
    b"trailing space {} ",
    b"#{}#",
    b"%{}%",
    b"%2F%00%{}",
    b"a%20b+c{}",
    b"?x=1&y=2{}",
    b"[ab]*{}[!c]",
    b"~{}~",
    b"'{}'\"`",
    b"new\nline{}\n",
    b"tab\t{}\r",
    b"back\\slash{}\\",
    b"\\x41{}",
    b"not utf-8 \xff\xfe{}\x80",
    b"half \xc3{}",
    "emoji \U0001f680{}e\u0301 \xe9".encode(),
    "\u202eright to left{}".encode(),
    "\x85\ufeff{}\ufffe".encode(),
    b"!21!2F{}!",
    b"!{{hostname}}{}",
    b"-rf {}",
    b"--include={}",
    b"-{}",
    b"dots..{}..",
    b"{}.",
    b"$(reboot){};|&<>",
    b"\x01\x7f{}",
    b"s3fu-{}",
    b"{}.part.csv",
    b"a,b={}:c@d",
    b"<xml>&amp;{}]]>",
)


def hostile_name(kind: int, unique: str, longest: int = LONGEST_NAME_BYTES) -> bytes:
    """A name that holds `unique`, so that no two are equal. Every so often one of `longest` bytes."""
    if kind % (len(_NAMES) + 1) == len(_NAMES):
        return unique.encode() + b"-" + b"n" * (longest - len(unique) - 1)
    name = _NAMES[kind % (len(_NAMES) + 1)]
    return (
        name.replace(b"{{", b"\0").replace(b"{}", unique.encode()).replace(b"\0", b"{").replace(b"}}", b"}")
    )


@dataclass(frozen=True)
class Order:
    """What one producer is to do. `big` of its files are above or just at the multipart threshold."""

    way: str
    folder: str
    record: str
    files: int
    seconds: float
    seed: int
    big: int = 0
    longest_name: int = LONGEST_NAME_BYTES

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class Producer:
    def __init__(self, order: Order, record: TextIO) -> None:
        self.order = order
        self.random = random.Random(order.seed)  # repeatable, not secret
        self._record = record
        self._temporary = 0
        self._sizes = self._all_sizes()

    def _all_sizes(self) -> list[int]:
        sizes = [self._size() for _ in range(self.order.files)]
        for number, place in enumerate(
            self.random.sample(range(len(sizes)), min(self.order.big, len(sizes)))
        ):
            sizes[place] = _MULTIPART_SIZES[number % len(_MULTIPART_SIZES)]
        return sizes

    def _size(self) -> int:
        if self.random.random() < 0.1:
            return 0
        return self.random.randrange(1, self.random.choice((200, 4000, 4000, 60_000)))

    def content(self) -> bytes:
        return self.random.randbytes(self._sizes.pop())

    def name(self, number: int) -> bytes:
        kind = self.random.randrange(1000)
        return hostile_name(kind, f"{self.order.way}{number}", self.order.longest_name)

    def temporary(self) -> bytes:
        self._temporary += 1
        return b"%s-%d%s" % (self.order.way.encode(), self._temporary, TEMPORARY)

    def pause(self, share: float = 1.0) -> None:
        """So that all files together take the ordered time."""
        time.sleep(self.random.random() * 2 * share * self.order.seconds / self.order.files)

    def note(self, event: str, name: bytes, content: bytes | None = None) -> None:
        line: dict[str, object] = {event: name.hex()}
        if content is not None:
            line |= {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        self._record.write(json.dumps(line) + "\n")
        self._record.flush()

    # The ways.

    def write(self) -> None:
        """Each file in one go, or without a name until it is complete."""
        for number in range(self.order.files):
            name, content = self.name(number), self.content()
            if number % 5 == 4:
                self._link_into_place(name, content)
            else:
                with open(name, "xb") as file:
                    file.write(content)
                    file.flush()
                    self.note("finished", name, content)
            self.pause()

    def _link_into_place(self, name: bytes, content: bytes) -> None:
        descriptor = os.open(b".", os.O_TMPFILE | os.O_WRONLY, 0o644)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            self.note("finished", name, content)
            # Only with a folder's descriptor does Python make the call that follows this link.
            os.link(b"/proc/self/fd/%d" % descriptor, name, src_dir_fd=descriptor, follow_symlinks=True)

    def append(self) -> None:
        """A few files at once, each line by line; the last stays open until standard input ends."""
        open_files: list[tuple[int, bytes, list[bytes], bytes]] = []
        started = 0
        while started < self.order.files or open_files:
            if started < self.order.files and len(open_files) < 4:
                name, content = self.name(started), self.content()
                descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
                open_files.append((descriptor, name, _pieces(content), content))
                started += 1
            chosen = self.random.randrange(len(open_files))
            descriptor, name, pieces, content = open_files[chosen]
            if pieces:
                _write(descriptor, pieces.pop(0))
            else:
                del open_files[chosen]
                self.note("finished", name, content)
                os.close(descriptor)
            self.pause(0.15)
        self._stay_open()

    def _stay_open(self) -> None:
        name = b"still open %d" % self.order.seed
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        _write(descriptor, b"first half, ")
        self.note("opened", name)
        sys.stdin.read()
        _write(descriptor, b"second half")
        self.note("finished", name, b"first half, second half")
        os.close(descriptor)

    def rename(self) -> None:
        """Under a temporary name, then renamed into place."""
        for number in range(self.order.files):
            name, content, temporary = self.name(number), self.content(), self.temporary()
            with open(temporary, "xb") as file:
                for piece in _pieces(content):
                    file.write(piece)
                    file.flush()
                    self.pause(0.1)
            self.note("finished", name, content)
            os.rename(temporary, name)
            self.pause(0.7)

    def reuse(self) -> None:
        """A few names again and again: replaced, written anew in place, appended to, removed first."""
        names = [self.name(number) for number in range(max(1, self.order.files // 12))]
        ways = (self._replace, self._rewrite, self._extend, self._remove_first)
        for _ in range(self.order.files):
            self.random.choice(ways)(self.random.choice(names), self.content())
            self.pause()

    def _replace(self, name: bytes, content: bytes) -> None:
        temporary = self.temporary()
        with open(temporary, "xb") as file:
            file.write(content)
        self.note("finished", name, content)
        if _exchange(temporary, name):
            self.note("overwritten", name, _content(temporary))
            os.unlink(temporary)
        else:
            os.rename(temporary, name)  # nobody else makes this name

    def _rewrite(self, name: bytes, content: bytes) -> None:
        descriptor = self._open_in_place(name)
        os.ftruncate(descriptor, 0)
        _write(descriptor, content)
        self.note("finished", name, content)
        os.close(descriptor)

    def _extend(self, name: bytes, content: bytes) -> None:
        descriptor = self._open_in_place(name)
        before = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        _write(descriptor, content)
        self.note("finished", name, before + content)
        os.close(descriptor)

    def _open_in_place(self, name: bytes) -> int:
        while True:
            flags = os.O_RDWR | os.O_APPEND
            with suppress(FileExistsError):
                return os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o644)
            with suppress(FileNotFoundError):  # it was taken away in between
                descriptor = os.open(name, flags)
                self.note("overwritten", name, os.pread(descriptor, os.fstat(descriptor).st_size, 0))
                return descriptor

    def _remove_first(self, name: bytes, content: bytes) -> None:
        temporary = self.temporary()
        with suppress(FileNotFoundError):
            os.rename(name, temporary)
            self.note("overwritten", name, _content(temporary))
            os.unlink(temporary)
        with open(name, "xb") as file:
            file.write(content)
            file.flush()
            self.note("finished", name, content)


WAYS = ("append", "rename", "reuse", "write")


def _pieces(content: bytes) -> list[bytes]:
    length = max(1, len(content) // 5)
    return [content[start : start + length] for start in range(0, len(content), length)]


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _content(name: bytes) -> bytes:
    with open(name, "rb") as file:
        return file.read()


def _exchange(one: bytes, other: bytes) -> bool:
    """Swap two names in one step; False when there is no `other`."""
    if _libc.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code == 2:  # ENOENT
        return False
    raise OSError(code, os.strerror(code), one, None, other)


@dataclass
class Records:
    """The records of all producers, read as they grow."""

    paths: list[str]
    finished: dict[bytes, list[str]] = field(default_factory=dict)  # name → SHA-256 of each version, in order
    overwritten: dict[bytes, set[str]] = field(default_factory=dict)
    opened: set[bytes] = field(default_factory=set)
    bytes_written: int = 0
    _read_up_to: dict[str, int] = field(default_factory=dict)

    def read(self) -> None:
        for path in self.paths:
            with suppress(FileNotFoundError), open(path, "rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read_up_to[path] = self._read_up_to.get(path, 0) + len(line)
                    self._take(json.loads(line))

    def _take(self, line: dict[str, str]) -> None:
        if "finished" in line:
            self.bytes_written += int(line["size"])
            self.finished.setdefault(bytes.fromhex(line["finished"]), []).append(line["sha256"])
        elif "overwritten" in line:
            self.overwritten.setdefault(bytes.fromhex(line["overwritten"]), set()).add(line["sha256"])
        else:
            self.opened.add(bytes.fromhex(line["opened"]))


def main() -> None:
    order = Order(**json.loads(sys.argv[1]))
    os.chdir(order.folder)
    with open(order.record, "a", encoding="ascii") as record:
        getattr(Producer(order, record), order.way)()


if __name__ == "__main__":
    main()
