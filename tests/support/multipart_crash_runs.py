"""Kills the real uploader, by SIGKILL, right before its n-th step of a multipart upload to a real store, for every n.

A step is a request to the store, the first bytes of its body, its answer, or a commit of the ledger. Parts
are small. Run as a program, for a fresh interpreter without threads: each life is a fork.

    python multipart_crash_runs.py HOME BUCKET FIRST STRIDE     one JSON line for each n = FIRST, FIRST + STRIDE, …

The store's address and keys come from the environment: STORE_URL, AWS_REGION, STORE_KEY, STORE_SECRET.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import botocore.session
from botocore.config import Config

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.pipeline import Uploader
from s3_file_uploader.transport.s3 import S3Transport, checkpoint, engine
from s3_file_uploader.transport.s3.cargo import FileSlice
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.exchange import Exchanger
from support import lives
from support.lives import QUICK, SteppingLedger, Steps

if TYPE_CHECKING:
    import random

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery

__all__ = ["main"]

PART = 5 * 1024 * 1024  # stores take no smaller ones
SIZE = 2 * PART + 1000
FATES = ("stays", "changes", "vanishes", "goes elsewhere")


class Journal:
    """What a life asked the store for, on the disk before it is asked."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, **what: Any) -> None:
        os.write(self._descriptor, json.dumps(what).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        with open(self._path, "rb") as file:
            return [json.loads(line) for line in file]


def step_through(steps: Steps, journal: Journal) -> None:
    """Every exchange of this process counts its steps from now on, and parts are small."""
    checkpoint.USUAL_PART_BYTES = checkpoint.LEAST_PART_BYTES = PART
    vars(engine)["PUT_LIMIT_BYTES"] = PART
    exchange, save = Exchanger.exchange, engine.Engine.save

    async def stepping(self: Exchanger, method: str, head: bytes, body: Any, **more: Any) -> Any:
        if isinstance(body, FileSlice):
            progress = body.progress
            has_begun: list[int] = []

            def told(count: int) -> None:
                if not has_begun:
                    steps.step()
                has_begun.append(count)
                progress(count)

            body.progress = told
        query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode()).query)
        if "partNumber" in query:
            journal.note(part=int(query["partNumber"][0]), upload_id=query["uploadId"][0])
        steps.step()
        answer = await exchange(self, method, head, body, **more)
        steps.step()
        return answer

    async def saving(self: engine.Engine, delivery: Delivery, checkpoint: Checkpoint | None) -> None:
        await save(self, delivery, checkpoint)
        if checkpoint is not None:
            journal.note(saved=checkpoint["upload_id"])

    Exchanger.exchange = stepping  # type: ignore[method-assign]  # in a process that is made to die
    engine.Engine.save = saving  # type: ignore[method-assign]  # as above


@dataclass
class Story:
    """One file in a folder of its own, under a key of its own, over several lives of the process."""

    home: str
    bucket: str
    prefix: str
    fate: str
    known: set[str] = field(default_factory=set)  # upload ids that were ever in the ledger
    listed: set[tuple[str, int]] = field(default_factory=set)  # parts that the store was seen to have
    contents: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = os.path.join(self.home, "data")
        self.path = os.path.join(self.folder, "large")
        shutil.rmtree(self.home, ignore_errors=True)
        os.makedirs(self.folder)
        self.journal = Journal(os.path.join(self.home, "journal"))
        self.write()

    def write(self) -> None:
        self.contents.append((os.urandom(1021) * (SIZE // 1021 + 1))[:SIZE])  # every part is another
        with open(f"{self.home}/new", "wb") as file:
            file.write(self.contents[-1])
        os.rename(f"{self.home}/new", self.path)

    def suffer(self) -> None:
        """What happens to the file while nobody runs."""
        if not os.path.exists(self.path):
            return
        if self.fate == "changes":
            self.write()
        elif self.fate == "vanishes":
            os.unlink(self.path)
        elif self.fate == "goes elsewhere":
            with contextlib.closing(sqlite3.connect(self._ledger)) as ledger:
                ledger.execute("UPDATE file SET key = NULL WHERE state <> 'delivered'")
                ledger.commit()
            self.prefix += "-elsewhere"

    @property
    def _ledger(self) -> str:
        return os.path.join(self.home, "state", "crash", "ledger.db")

    # One life of the process.

    def live(self, deadly: int | None) -> bool:
        """Whether it survived."""
        before = len(self.journal.read())
        try:
            return lives.live(lambda: self._live(Steps(deadly)))
        finally:
            self._assert_nothing_sent_twice(before)
            self._look()

    def _live(self, steps: Steps) -> None:
        step_through(steps, self.journal)
        asyncio.run(self._drain(steps))

    async def _drain(self, steps: Steps) -> None:
        rule = Rule(
            name="default",
            path_name=os.path.join(self.folder, "*"),
            bucket_name=self.bucket,
            object_key_prefix=self.prefix,
            region=os.environ["AWS_REGION"],
            endpoint_url=os.environ["STORE_URL"],
            **QUICK,
        )
        settings = Settings(name="crash", state_directory=os.path.join(self.home, "state"), rules=(rule,))
        SteppingLedger.steps = steps
        ledger = SteppingLedger.open(settings.state_directory, settings.name)
        try:
            await Uploader(
                settings, ledger, transports=transport_of, until_done=True, include_active=True
            ).run()
        finally:
            ledger.close()

    # What must hold.

    def _look(self) -> None:
        """What the ledger knows now, and which parts the store has."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self._ledger)) as ledger:
            for table in ("checkpoint", "given_up"):
                for (data,) in ledger.execute(f"SELECT data FROM {table}"):
                    self.known.add(json.loads(data)["upload_id"])
        for upload_id, numbers in self._open_uploads().items():
            self.listed.update((upload_id, number) for number in numbers)

    def _open_uploads(self) -> dict[str, list[int]]:
        client = store()
        found = {}
        answer = client.list_multipart_uploads(Bucket=self.bucket, Prefix=f"{self.home_prefix}")
        for upload in answer.get("Uploads", []):
            try:
                parts = client.list_parts(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
            except client.exceptions.NoSuchUpload:
                continue  # the last words of one that was killed: its abort has only now come in
            found[upload["UploadId"]] = [part["PartNumber"] for part in parts.get("Parts", [])]
        return found

    @property
    def home_prefix(self) -> str:
        return self.prefix.partition("-elsewhere")[0]

    def _assert_nothing_sent_twice(self, before: int) -> None:
        """No part that the store had when a life began is sent in it, of the same upload."""
        sent = [(one["upload_id"], one["part"]) for one in self.journal.read()[before:] if "part" in one]
        again = self.listed.intersection(sent)
        assert not again, f"sent again though they had arrived: {sorted(again)}"
        assert len(sent) == len(set(sent)), f"sent twice in one life: {sent}"

    def assert_all_done(self) -> None:
        saved = {one["saved"] for one in self.journal.read() if "saved" in one}
        for upload_id in self._open_uploads():
            # A process that dies between the store's answer and its own writing can know of nothing.
            assert upload_id not in saved | self.known, f"{upload_id} was known and is left behind"
        assert os.listdir(self.folder) == [], "a file is left in the folder"
        objects = store().list_objects_v2(Bucket=self.bucket, Prefix=self.home_prefix).get("Contents", [])
        contents = [store().get_object(Bucket=self.bucket, Key=one["Key"])["Body"].read() for one in objects]
        assert set(contents) <= set(self.contents), "an object holds what was never written"
        if self.fate != "vanishes":
            assert self.contents[-1] in contents, "the last content has not arrived"

    def forget(self) -> None:
        """All of it is deleted, so that the store is as quick for the next."""
        for one in store().list_objects_v2(Bucket=self.bucket, Prefix=self.home_prefix).get("Contents", []):
            store().delete_object(Bucket=self.bucket, Key=one["Key"])
        shutil.rmtree(self.home)


_stores: list[Any] = []


def store() -> Any:
    """botocore's client: what is found in the store was read by somebody else's code."""
    if not _stores:
        _stores.append(
            botocore.session.get_session().create_client(
                "s3",
                endpoint_url=os.environ["STORE_URL"],
                region_name=os.environ["AWS_REGION"],
                aws_access_key_id=os.environ["STORE_KEY"],
                aws_secret_access_key=os.environ["STORE_SECRET"],
                config=Config(s3={"addressing_style": "path"}),
            )
        )
    return _stores[0]


def transport_of(rule: Rule) -> S3Transport:
    pair = (os.environ["STORE_KEY"], os.environ["STORE_SECRET"])
    return S3Transport(
        Endpoint.of(rule.bucket_name, rule.region, rule.endpoint_url),
        credentials=CredentialSource(fetch=lambda profile, seconds: (*pair, None, None)),
    )


def _run(story: Story, deadly: list[int]) -> bool:
    """Die at each of these steps in turn, then live to the end. Whether the first of them was reached."""
    reached = False
    for place, step in enumerate(deadly):
        survived = story.live(step)
        if place == 0:
            reached = not survived
            story.suffer()
        if survived:
            break
    assert story.live(None), "it died by itself"
    story.assert_all_done()
    return reached


def main() -> None:
    home, bucket = sys.argv[1:3]

    def tell(step: int, chosen: random.Random, told: dict[str, Any]) -> bool:
        fate = chosen.choice((*FATES[:1] * 3, *FATES))  # half of them just stay
        story = Story(os.path.join(home, str(step)), bucket, f"story-{step:04}", fate)
        # Every other time a second death, somewhere in what follows the first.
        deadly = [step, chosen.randrange(1, 50)] if chosen.random() < 0.5 else [step]
        told.update(deadly=deadly, fate=fate, resumed=0)
        reached = _run(story, deadly)
        told["resumed"] = len(story.listed)
        story.forget()
        return reached

    lives.play(tell, *map(int, sys.argv[3:5]))


if __name__ == "__main__":
    main()
