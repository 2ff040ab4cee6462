"""The connection to the nucleus, by AWS's own client of its IPC. The only place that imports awsiotsdk.

Each request has a deadline of ours and is awaited on the event loop; nothing here blocks it. What the
nucleus tells by itself arrives in the SDK's network thread and is passed on as an Event, at once. The
SDK's errors become one of three: the nucleus is gone, it is silent, or it refuses.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import awsiot.greengrasscoreipc
from awsiot.eventstreamrpc import (
    AccessDeniedError,
    ConnectionClosedError,
    LifecycleHandler,
    StreamClosedError,
)
from awsiot.greengrasscoreipc import model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from s3_file_uploader.errors import NucleusLost, NucleusRefuses, NucleusSilent
from s3_file_uploader.greengrass.events import (
    ConfigurationChanged,
    Event,
    Lost,
    StreamEnded,
    UpdateAnnounced,
    UpdateDone,
    ValidationAsked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

__all__ = ["Nucleus"]

_ANSWER_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_NOT_FOUND = "ResourceNotFoundError"
_SERVICE_ERROR = "ServiceError"
_TOO_LONG_ADVICE = (
    "Look at the nucleus's own log. Nucleus lite hands over 10 000 bytes of configuration at most: have fewer rules, by"
    " wildcards, or shorter ones."
)
_OF_US_ALL: list[str] = []  # the path of the whole configuration


class _Line(LifecycleHandler):  # type: ignore[misc]  # the SDK says nothing of its types
    """Tells of the end of the connection, and that an error of it is its end."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    def on_disconnect(self, reason: Exception | None) -> None:
        if reason is not None:
            self._tell(Lost(_said(reason)))

    def on_error(self, error: Exception) -> bool:
        del error  # on_disconnect gets it next
        return True


class Nucleus:
    """`tell` is called from the SDK's thread with each Event; it must not block or raise."""

    def __init__(self, client: Any, tell: Callable[[Event], None]) -> None:
        # No executor: its threads would be joined at exit, and `tell` is quick.
        self._client = GreengrassCoreIPCClientV2(client=client, executor=None)
        self._tell = tell
        self._is_closing = False

    @classmethod
    def connect(cls, tell: Callable[[Event], None], timeout_seconds: float = _ANSWER_SECONDS) -> Nucleus:
        """Blocks. By the environment that a nucleus gives its components. NucleusLost, NucleusSilent."""
        try:
            client = awsiot.greengrasscoreipc.connect(lifecycle_handler=_Line(tell), timeout=timeout_seconds)
        except AccessDeniedError as error:
            raise NucleusRefuses(
                "the nucleus refuses our token",
                code="AccessDenied",
                advice="Nothing to do: the nucleus starts the component anew, with a new one.",
            ) from error
        except Exception as error:  # the SDK's own errors, and awscrt's, have no base of their own
            if _is_timeout(error):
                raise NucleusSilent(f"the nucleus does not answer within {timeout_seconds:g} s") from error
            raise NucleusLost(f"the nucleus cannot be reached: {_said(error)}") from error
        return cls(client, tell)

    async def close(self) -> None:
        self._is_closing = True
        await _ended(self._client.close(executor_wait=False), _CLOSE_SECONDS)

    # Configuration.

    async def configuration(self) -> dict[str, Any]:
        """The component's whole configuration; empty where there is none."""
        try:
            answer = await self._asked(
                "GetConfiguration", lambda: self._client.get_configuration_async(key_path=_OF_US_ALL)
            )
        except NucleusRefuses as refusal:
            if refusal.code == _NOT_FOUND:
                return {}
            refusal.advice = _TOO_LONG_ADVICE if refusal.code == _SERVICE_ERROR else refusal.advice
            raise
        return dict(answer.value or {})

    async def follow_configuration(self) -> None:
        """From now on each change is told as ConfigurationChanged."""
        await self._subscribed(
            "SubscribeToConfigurationUpdate",
            partial(self._client.subscribe_to_configuration_update_async, key_path=_OF_US_ALL),
            lambda _event: self._tell(ConfigurationChanged()),
        )

    async def offer_validation(self) -> None:
        """From now on deployments ask us first (ValidationAsked), where the nucleus has that."""
        await self._subscribed(
            "SubscribeToValidateConfigurationUpdates",
            self._client.subscribe_to_validate_configuration_updates_async,
            self._tell_validation,
        )

    def _tell_validation(self, told: Any) -> None:
        asked = told.validate_configuration_update_event
        if asked is not None and asked.deployment_id:
            self._tell(ValidationAsked(asked.deployment_id, asked.configuration or {}))

    async def report_validity(self, deployment: str, problem: str) -> None:
        """Accept a configuration, or with a `problem` reject it."""
        status = model.ConfigurationValidityStatus
        report = model.ConfigurationValidityReport(
            status=status.REJECTED if problem else status.ACCEPTED,
            deployment_id=deployment,
            message=problem or None,
        )
        await self._asked(
            "SendConfigurationValidityReport",
            lambda: self._client.send_configuration_validity_report_async(
                configuration_validity_report=report
            ),
        )

    # Deployments and state.

    async def follow_updates(self) -> None:
        """From now on deployments are announced (UpdateAnnounced, UpdateDone), where the nucleus has that."""
        await self._subscribed(
            "SubscribeToComponentUpdates",
            self._client.subscribe_to_component_updates_async,
            self._tell_update,
        )

    def _tell_update(self, told: Any) -> None:
        if told.pre_update_event is not None:
            self._tell(UpdateAnnounced(told.pre_update_event.deployment_id or ""))
        elif told.post_update_event is not None:
            self._tell(UpdateDone(told.post_update_event.deployment_id or ""))

    async def defer_update(self, deployment: str, recheck_seconds: float, message: str) -> None:
        """Let an announced deployment wait and ask again; with 0 let it go on."""
        await self._asked(
            "DeferComponentUpdate",
            lambda: self._client.defer_component_update_async(
                deployment_id=deployment, message=message, recheck_after_ms=int(recheck_seconds * 1000)
            ),
        )

    async def report_running(self) -> None:
        """The configuration is good and the work has begun."""
        await self._asked(
            "UpdateState",
            lambda: self._client.update_state_async(state=model.ReportedLifecycleState.RUNNING),
        )

    # Messages.

    async def publish_locally(self, topic: str, message: Mapping[str, Any]) -> None:
        """As JSON, to the other components of this device."""
        publish = model.PublishMessage(json_message=model.JsonMessage(message=dict(message)))
        await self._asked(
            "PublishToTopic",
            lambda: self._client.publish_to_topic_async(topic=topic, publish_message=publish),
        )

    async def publish_to_iot_core(self, topic: str, payload: bytes) -> None:
        """At least once (QoS 1); the nucleus keeps it while the device is offline."""
        await self._asked(
            "PublishToIoTCore",
            lambda: self._client.publish_to_iot_core_async(
                topic_name=topic, qos=model.QOS.AT_LEAST_ONCE, payload=payload
            ),
        )

    # How anything is asked.

    async def _subscribed(
        self,
        operation: str,
        subscribe: Callable[..., tuple[Future[Any], Any]],
        on_event: Callable[[Any], None],
    ) -> None:
        accepted: list[bool] = []  # filled in the SDK's thread, which is also the one that tells of the end

        def note(answer: Future[Any]) -> None:
            if answer.exception() is None:
                accepted.append(True)

        def ended() -> None:
            if accepted and not self._is_closing:
                self._tell(StreamEnded(operation))

        def begin() -> Future[Any]:
            future, _operation = subscribe(on_stream_event=on_event, on_stream_closed=ended)
            future.add_done_callback(note)
            return future

        await self._asked(operation, begin)

    async def _asked(self, operation: str, ask: Callable[[], Future[Any]]) -> Any:
        try:
            answer = await _ended(ask(), _ANSWER_SECONDS)
            if answer is not None:
                return answer.result()
        except (ConnectionClosedError, StreamClosedError) as error:
            raise NucleusLost(f"{operation}: the connection to the nucleus is gone") from error
        except Exception as error:  # whatever the SDK makes of an answer: errors of the model, of parsing, …
            raise NucleusRefuses(f"{operation}: {_said(error)}", code=type(error).__name__) from error
        raise NucleusSilent(f"the nucleus does not answer {operation} within {_ANSWER_SECONDS:g} s")


async def _ended(answer: Future[Any], seconds: float) -> asyncio.Future[Any] | None:
    """The answer once it is there; None where that takes too long.

    Not asyncio.wait_for, which before Python 3.12 could swallow a cancellation that came together with the answer.
    """
    coming = asyncio.wrap_future(answer)
    coming.add_done_callback(_look_at)
    await asyncio.wait([coming], timeout=seconds)
    return coming if coming.done() else None


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Nobody may be waiting for it any more; asyncio complains of an error that nobody has seen."""
    if not answer.cancelled():
        answer.exception()


def _is_timeout(error: BaseException) -> bool:
    """Before Python 3.11 concurrent.futures has a TimeoutError of its own."""
    return type(error).__name__ == "TimeoutError"


def _said(error: BaseException) -> str:
    """Errors of the model carry their text in `message`."""
    text = getattr(error, "message", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
