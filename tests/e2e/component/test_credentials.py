"""Credentials of the Token Exchange Service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.component_process import a_device
from support.credential_server import CredentialServer, credential_server
from support.scripted_s3 import ScriptedS3, echo_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.component_process import Device
    from support.scripted_s3 import Line
    from support.seaweed import SeaweedFS

_TOKEN = "token-of-the-nucleus"


def exchange_tokens(device: Device, exchange: CredentialServer) -> None:
    """Let the component have its credentials from there, as the nucleus tells it to."""
    exchange.token = _TOKEN
    device.more = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": exchange.url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": _TOKEN,
    }


def test_a_token_exchange_service_that_fails_at_boot_is_waited_out(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> None:
    with a_device("classic", tmp_path, seaweed, bucket) as device, credential_server() as exchange:
        exchange_tokens(device, exchange)
        exchange.failing = True
        exchange.keys = (seaweed.access_key, seaweed.secret_key)
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        with device.running() as component:
            line = component.says("paused", "no AWS credentials")
            assert line.startswith("WARNING")
            exchange.failing = False
            component.says("resumed")
            component.says("delivered", "a.txt")


class _Store:
    """Takes every key of the Token Exchange Service until it says that those so far have expired."""

    def __init__(self) -> None:
        self.expired: set[str] = set()
        self.seen: set[str] = set()

    def play(self, line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            key = request.headers["authorization"].partition("Credential=")[2].partition("/")[0]
            self.seen.add(key)
            if key in self.expired:
                line.refuse(400, "ExpiredToken")
            else:
                line.answer(200, echo_of(body))


def test_a_token_exchange_service_that_fails_at_refresh_is_waited_out(tmp_path: Path) -> None:
    store = _Store()
    with (
        ScriptedS3(store.play) as server,
        credential_server() as exchange,
        a_device("classic", tmp_path, None, "fleet-data") as device,
    ):
        exchange_tokens(device, exchange)
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        with device.running(EndpointUrl=server.url) as component:
            component.says("delivered", "a.txt")
            exchange.failing, store.expired = True, set(store.seen)
            device.write("c.txt", 300)
            assert component.says("paused", "Token").startswith("WARNING")
            exchange.failing = False
            component.says("resumed")
            component.says("delivered", "b.txt")

    assert not any("parked" in line for line in component.log.lines)
