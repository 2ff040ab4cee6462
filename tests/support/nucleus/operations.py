"""What each operation of the IPC does: from a request to its answer, or to a refusal.

Called in the nucleus's thread. An answer is the body of the operation's response; a subscription's stream
stays open after it.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from support.nucleus.configuration import MISSING, find, merge_steps
from support.nucleus.connection import Refused
from support.nucleus.policies import LOCAL_TOPICS, MQTT, is_allowed
from support.nucleus.record import Published

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.nucleus.component import Component
    from support.nucleus.connection import Stream
    from support.nucleus.server import FakeNucleus

__all__ = ["OPERATIONS", "SUBSCRIPTIONS", "answer"]

Answer = dict[str, Any]


def answer(nucleus: FakeNucleus, stream: Stream) -> Answer:
    if stream.operation in nucleus.unauthorized:
        raise Refused("UnauthorizedError", f"{stream.component} is not authorized to {stream.operation}")
    handler = OPERATIONS.get(stream.operation)
    if handler is None or stream.operation in nucleus.kind.unsupported:
        raise Refused("ServiceError", f"{stream.operation} is not supported")
    return handler(nucleus, stream)


# -- configuration


def _get_configuration(nucleus: FakeNucleus, stream: Stream) -> Answer:
    name = stream.body.get("componentName") or stream.component
    path = _key_path(stream)
    found = find(_component(nucleus, name).configuration, path)
    if found is MISSING:
        raise Refused("ResourceNotFoundError", "Key not found")
    # A leaf comes with its key, a map without.
    return {"componentName": name, "value": found if isinstance(found, dict) else {path[-1]: found}}


def _update_configuration(nucleus: FakeNucleus, stream: Stream) -> Answer:
    path, merged, timestamp = _key_path(stream), stream.body.get("valueToMerge"), stream.body.get("timestamp")
    if not isinstance(merged, dict) or not isinstance(timestamp, (int, float)):
        raise Refused("InvalidArgumentsError", "a map to merge and a timestamp are needed")
    if "accessControl" in ((path[0],) if path else merged):
        raise Refused("InvalidArgumentsError", "Config update is not allowed for the field accessControl")
    component = nucleus.components[stream.component]
    if find(component.configuration, path) is not MISSING and not isinstance(
        find(component.configuration, path), dict
    ):
        raise Refused("InvalidArgumentsError", "a map cannot be merged into a leaf")
    steps = merge_steps(component.configuration, merged, path)
    current = [step for step in steps if component.changed_at.get(step.path, 0.0) <= timestamp]
    if len(current) < len(steps) and nucleus.kind.does_refuse_older:
        raise Refused("FailedUpdateConditionCheckError", "the timestamp is older than that of the value")
    for step in current:
        component.take(step, timestamp)
    nucleus.tell_changes(component, current, at_once=nucleus.events_before_answer)
    return {}


def _subscribe_to_configuration(nucleus: FakeNucleus, stream: Stream) -> Answer:
    name = stream.body.get("componentName") or stream.component
    if find(_component(nucleus, name).configuration, _key_path(stream)) is MISSING:
        raise Refused("ResourceNotFoundError", "Key not found")
    return {}


def _report_validity(nucleus: FakeNucleus, stream: Stream) -> Answer:
    report = stream.body.get("configurationValidityReport")
    pending = nucleus.pending_reports.get(stream.component)
    if not isinstance(report, dict) or pending is None or report.get("deploymentId") != pending:
        raise Refused("InvalidArgumentsError", "Validation request either timed out or was never made")
    del nucleus.pending_reports[stream.component]
    nucleus.reports[pending] = report
    return {}


# -- its life


def _subscribe(_nucleus: FakeNucleus, _stream: Stream) -> Answer:
    return {}


def _defer(nucleus: FakeNucleus, stream: Stream) -> Answer:
    if not nucleus.subscriptions("SubscribeToComponentUpdates", stream.component):
        raise Refused("InvalidArgumentsError", "Component is not subscribed to component update events")
    if nucleus.pending_updates.pop(stream.component, None) is None:
        raise Refused("ServiceError", "Time limit to respond to PreComponentUpdateEvent exceeded")
    nucleus.deferrals.append((stream.component, stream.body))
    return {}


def _update_state(nucleus: FakeNucleus, stream: Stream) -> Answer:
    state = stream.body.get("state")
    if state not in {"RUNNING", "ERRORED"}:
        raise Refused("InvalidArgumentsError", f"no state that can be reported: {state}")
    nucleus.record.states.append((stream.component, state))
    return {}


# -- topics


def _publish_locally(nucleus: FakeNucleus, stream: Stream) -> Answer:
    topic, message = stream.body.get("topic"), stream.body.get("publishMessage")
    if not topic or not isinstance(message, dict) or not message:
        raise Refused("InvalidArgumentsError", "a topic and a message are needed")
    _authorize(nucleus, stream, LOCAL_TOPICS, topic)
    form = "binaryMessage" if "binaryMessage" in message else "jsonMessage"
    content = (message.get(form) or {}).get("message")
    payload = _decoded(content) if form == "binaryMessage" else content
    nucleus.record.published.append(Published(stream.component, topic, payload))
    nucleus.deliver(topic, form, content, sender=stream.component)
    return {}


def _subscribe_to_topic(nucleus: FakeNucleus, stream: Stream) -> Answer:
    if not stream.body.get("topic"):
        raise Refused("InvalidArgumentsError", "a topic is needed")
    _authorize(nucleus, stream, LOCAL_TOPICS, stream.body["topic"])
    return {}


def _publish_to_iot_core(nucleus: FakeNucleus, stream: Stream) -> Answer:
    topic, qos = stream.body.get("topicName"), stream.body.get("qos")
    if not topic or qos not in {None, "0", "1"}:
        raise Refused("InvalidArgumentsError", "a topic and a QoS of 0 or 1 are needed")
    payload = _decoded(stream.body.get("payload") or "")
    _authorize(nucleus, stream, MQTT, topic)
    if len(payload) > nucleus.kind.most_iot_core_bytes:
        raise Refused("ServiceError", "Failed to publish the message")
    nucleus.record.published.append(Published(stream.component, topic, payload, is_to_iot_core=True, qos=qos))
    return {}


# -- what they share


def _key_path(stream: Stream) -> tuple[str, ...]:
    path = stream.body.get("keyPath") or []
    if not isinstance(path, list) or not all(isinstance(key, str) for key in path):
        raise Refused("ServiceError", "keyPath must be a list of strings")
    return tuple(path)


def _component(nucleus: FakeNucleus, name: str) -> Component:
    if name not in nucleus.components:
        raise Refused("ResourceNotFoundError", "Key not found")
    return nucleus.components[name]


def _authorize(nucleus: FakeNucleus, stream: Stream, service: str, resource: str) -> None:
    access_control = nucleus.components[stream.component].configuration.get("accessControl")
    if not is_allowed(access_control, service, stream.operation, resource):
        raise Refused("UnauthorizedError", f"{stream.component} may not {stream.operation} on {resource}")


def _decoded(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise Refused("ServiceError", "what should be base64 is not") from error


OPERATIONS: dict[str, Callable[[FakeNucleus, Stream], Answer]] = {
    "GetConfiguration": _get_configuration,
    "UpdateConfiguration": _update_configuration,
    "SubscribeToConfigurationUpdate": _subscribe_to_configuration,
    "SubscribeToValidateConfigurationUpdates": _subscribe,
    "SendConfigurationValidityReport": _report_validity,
    "SubscribeToComponentUpdates": _subscribe,
    "DeferComponentUpdate": _defer,
    "UpdateState": _update_state,
    "PublishToTopic": _publish_locally,
    "SubscribeToTopic": _subscribe_to_topic,
    "PublishToIoTCore": _publish_to_iot_core,
}
SUBSCRIPTIONS = frozenset(name for name in OPERATIONS if name.startswith("SubscribeTo"))
