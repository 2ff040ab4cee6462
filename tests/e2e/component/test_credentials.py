"""Credentials of the Token Exchange Service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.component_process import (
    a_device,
)
from support.credential_server import credential_server

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS


def test_a_token_exchange_service_that_fails_at_boot_is_waited_out(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> None:
    with a_device("classic", tmp_path, seaweed, bucket) as device, credential_server() as exchange:
        exchange.token, exchange.failing = "token-of-the-nucleus", True
        exchange.keys = (seaweed.access_key, seaweed.secret_key)
        device.more = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": exchange.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token-of-the-nucleus",
        }
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        with device.running() as component:
            line = component.says("paused", "no AWS credentials")
            assert line.startswith("WARNING")
            exchange.failing = False
            component.says("resumed")
            component.says("delivered", "a.txt")
