"""Damages answers of a store at random, for so many seconds: `python tests/fuzz/answers.py SECONDS [SEED]`.

What must hold of every one of them stands in tests/support/answers.py. The first that breaks it ends the
run with 1 and is kept in a file; so does any exception but the reader's own. Memory is bounded by the
system, so that what grows without end fails here too.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from support.answers import METHODS, mutated, verdict_on_bytes, verdict_on_document

MOST_MEMORY_BYTES = 1 << 30


def _cuts(chance: random.Random, size: int) -> list[int]:
    longest = chance.choice((1, 3, 20, 1000, 65536))
    return [chance.randint(1, longest) for _ in range(min(2000, size // longest + 1))]


def _verdict(data: bytes, method: str, cuts: list[int]) -> str | None:
    try:
        return verdict_on_bytes(data, method, cuts) or verdict_on_document(data)
    except (Exception, RecursionError, MemoryError) as error:  # whatever it is, it is what we look for
        return f"{type(error).__name__}: {error}"


def main(seconds: float, seed: int) -> int:
    """The exit code: 1 when something was found."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    chance = random.Random(seed)
    until, count, size = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        data, method = mutated(chance), chance.choice(METHODS)
        cuts = _cuts(chance, len(data))
        wrong = _verdict(data, method, cuts)
        count, size = count + 1, size + len(data)
        if wrong is not None:
            with tempfile.NamedTemporaryFile(prefix="answer-", delete=False) as kept:
                kept.write(data)
            print(
                f"seed {seed}, answer {count} to {method}, cut {cuts[:20]}: {wrong[:2000]}\nkept in {kept.name}"
            )
            return 1
    print(f"seed {seed}: {count} answers, {size / 1e6:.0f} MB, nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else random.randrange(1 << 32)))
