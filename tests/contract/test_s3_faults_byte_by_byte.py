"""A line that breaks after each single byte of a small request, and of its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import DeliveryError, TransferFault
from support.deliveries import Courier
from support.s3_transports import PATIENT, new_file, transport_to
from support.scripted_s3 import ECHO, Line, ScriptedS3, echo_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.model import Receipt

SIZE = 20


def deliver_until_it_arrives(store: ScriptedS3, path: str, most: int) -> tuple[Receipt, list[DeliveryError]]:
    """One delivery after the other over one transport, until one ends with a receipt."""

    async def run() -> tuple[Receipt, list[DeliveryError]]:
        faults: list[DeliveryError] = []
        async with transport_to(store, deadlines=PATIENT) as transport:
            courier = Courier("bucket")
            for _ in range(most):
                try:
                    return await transport.deliver(courier.delivery(path, "key")), faults
                except TransferFault as fault:
                    faults.append(fault)
        raise AssertionError("it never arrives")

    return asyncio.run(run())


@pytest.mark.parametrize("end", [Line.reset, Line.close], ids=["reset", "closed"])
def test_a_request_that_breaks_after_any_byte_is_sent_again_whole(
    end: Callable[[Line], None], tmp_path: Path
) -> None:
    """The connection that is the n-th takes n bytes of the request, and breaks."""
    path = new_file(tmp_path, SIZE)
    lengths: list[int] = []

    def script(line: Line) -> None:
        if lengths and line.number > lengths[0]:
            request = line.request()
            assert request is not None
            body = line.server.objects[request.path] = line.body(request.size)
            line.answer(200, echo_of(body))
            return
        if line.number == 0:  # learns how long a request is, and takes none of it
            request = line.request()
            assert request is not None
            lengths.append(line.read_bytes + request.size)
        else:
            line.body(line.number)
        end(line)

    with ScriptedS3(script) as store:
        receipt, faults = deliver_until_it_arrives(store, path, 2000)
    content = Path(path).read_bytes()
    assert store.objects == {"/bucket/key": content}
    assert receipt.checksum == f"crc64nvme:{echo_of(content)[ECHO]}"
    assert len(faults) == lengths[0] + 1 > 300
    assert {str(fault).partition(":")[0] for fault in faults} == {"the connection broke"}


@pytest.mark.parametrize("end", [Line.reset, Line.close], ids=["reset", "closed"])
@pytest.mark.parametrize("kind", ["sized", "chunked", "interim first"])
def test_an_answer_that_breaks_after_any_byte_is_no_proof(
    kind: str, end: Callable[[Line], None], tmp_path: Path
) -> None:
    """The connection that is the n-th stores the object and sends n bytes of its answer, and breaks."""
    path = new_file(tmp_path, SIZE)
    content = Path(path).read_bytes()
    head = b"HTTP/1.1 200 OK\r\n%s: %s\r\netag: e\r\n" % (ECHO.encode(), echo_of(content)[ECHO].encode())
    answer = {
        "sized": head + b"content-length: 5\r\n\r\nhello",
        "chunked": head + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "interim first": b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"content-length: 0\r\n\r\n",
    }[kind]

    def script(line: Line) -> None:
        request = line.request()
        assert request is not None
        line.server.objects[request.path] = line.body(request.size)
        line.send(answer[: line.number])
        end(line)

    with ScriptedS3(script) as store:
        receipt, faults = deliver_until_it_arrives(store, path, len(answer) + 100)
    # A reset may overtake the last bytes, never the other way round.
    assert len(faults) >= len(answer)
    assert end is Line.reset or len(faults) == len(answer)
    assert receipt.size == SIZE
    assert store.objects == {"/bucket/key": content}
