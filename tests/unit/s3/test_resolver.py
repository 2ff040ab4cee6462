"""Names become addresses in a thread of their own; what was learnt is used for a minute and longer."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from s3_file_uploader.transport.s3.resolver import KEPT_SECONDS, Resolver

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.resolver import Address

NO_SUCH_NAME = "no-such-name.invalid"  # RFC 6761: never exists


def asked(resolver: Resolver, host: str) -> tuple[tuple[Address, ...], str]:
    answers: list[tuple[tuple[Address, ...], str]] = []
    told = threading.Event()

    def tell(addresses: tuple[Address, ...], trouble: str) -> None:
        answers.append((addresses, trouble))
        told.set()

    resolver.ask(host, 80, tell)
    assert told.wait(60)
    return answers[0]


def test_a_literal_address_needs_nobody_to_ask() -> None:
    resolver = Resolver()
    (four,) = resolver.lookup("127.0.0.1", 80)
    assert (four.family, four.sockaddr) == (socket.AF_INET, ("127.0.0.1", 80))
    (six,) = resolver.lookup("::1", 80)
    assert six.family == socket.AF_INET6
    assert resolver.lookup("localhost", 80) == ()


def test_an_answer_is_kept_for_a_minute() -> None:
    now = [1000.0]
    resolver = Resolver(monotonic=lambda: now[0])
    addresses, trouble = asked(resolver, "localhost")
    assert addresses
    assert not trouble
    now[0] += KEPT_SECONDS - 1
    assert resolver.lookup("localhost", 80) == addresses
    now[0] += 2
    assert resolver.lookup("localhost", 80) == ()


def test_a_name_that_does_not_exist_is_told_with_the_reason() -> None:
    addresses, trouble = asked(Resolver(), NO_SUCH_NAME)
    assert addresses == ()
    assert trouble


def test_an_old_answer_is_better_than_none() -> None:
    now = [1000.0]
    resolver = Resolver(monotonic=lambda: now[0])
    known, _ = asked(resolver, "localhost")
    resolver._kept[NO_SUCH_NAME, 80] = (now[0], known)  # learnt before the name server went away
    now[0] += 10 * KEPT_SECONDS
    assert resolver.lookup(NO_SUCH_NAME, 80) == ()
    assert asked(resolver, NO_SUCH_NAME)[0] == known
