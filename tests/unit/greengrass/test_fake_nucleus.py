"""The fake nucleus against AWS's real client: each operation, on both kinds."""

from __future__ import annotations

import datetime as dt
import queue
from typing import TYPE_CHECKING, Any

import pytest
from awsiot.greengrasscoreipc import model

from support.nucleus import CLASSIC, LITE, FakeNucleus
from support.nucleus.client import Heard, connected
from support.nucleus.configuration import as_strings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIGURATION = {"bucket": "b", "limits": {"rate": 5, "window": {"from": "1:00"}}, "folders": ["a", "b"]}
ACCESS = {
    "aws.greengrass.ipc.pubsub": {
        "p1": {
            "operations": ["aws.greengrass#PublishToTopic", "aws.greengrass#SubscribeToTopic"],
            "resources": ["uploader/*/status", "commands", "one/+/level"],
        }
    },
    "aws.greengrass.ipc.mqttproxy": {
        "p1": {"operations": ["aws.greengrass#PublishToIoTCore"], "resources": ["cloud/*", "cmd/+/x"]}
    },
}


@pytest.fixture(params=[CLASSIC, LITE])
def nucleus(request: pytest.FixtureRequest) -> Iterator[FakeNucleus]:
    with FakeNucleus(request.param, configuration=CONFIGURATION, access_control=ACCESS) as started:
        yield started


@pytest.fixture
def classic() -> Iterator[FakeNucleus]:
    with FakeNucleus(CLASSIC, configuration=CONFIGURATION) as started:
        yield started


@pytest.fixture
def lite() -> Iterator[FakeNucleus]:
    with FakeNucleus(LITE, configuration=CONFIGURATION, access_control=ACCESS) as started:
        yield started


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


def keys(heard: Heard) -> list[list[str]]:
    return [event.configuration_update_event.key_path for event in heard.events]


# -- configuration


@pytest.mark.parametrize("key_path", [None, []])
def test_without_a_key_the_whole_configuration_is_given(
    nucleus: FakeNucleus, key_path: list[str] | None
) -> None:
    with connected(nucleus) as client:
        got = client.get_configuration(key_path=key_path)
    assert got.component_name == nucleus.component
    assert got.value == {**CONFIGURATION, "accessControl": ACCESS}


def test_a_map_is_given_as_it_is_and_a_leaf_with_its_key(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        assert client.get_configuration(key_path=["limits", "window"]).value == {"from": "1:00"}
        assert client.get_configuration(key_path=["limits", "rate"]).value == {"rate": 5}
        assert client.get_configuration(key_path=["folders"]).value == {"folders": ["a", "b"]}


def test_a_key_that_is_missing_is_not_found(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        for key_path in (["limits", "none"], ["bucket", "deeper"]):
            with pytest.raises(model.ResourceNotFoundError):
                client.get_configuration(key_path=key_path)


def test_another_component_s_configuration_may_be_read_and_is_not_found_if_there_is_no_such_component(
    nucleus: FakeNucleus,
) -> None:
    nucleus.add_component("com.example.Other", configuration={"port": 1})
    with connected(nucleus) as client:
        got = client.get_configuration(component_name="com.example.Other", key_path=["port"])
        assert (got.component_name, got.value) == ("com.example.Other", {"port": 1})
        with pytest.raises(model.ResourceNotFoundError):
            client.get_configuration(component_name="com.example.None")


def test_a_recipe_s_defaults_are_the_configuration_until_a_deployment_changes_them() -> None:
    recipe = {
        "ComponentConfiguration": {"DefaultConfiguration": {"a": {"x": 1, "y": 2}, "accessControl": ACCESS}}
    }
    with FakeNucleus(recipe=recipe, configuration={"a": {"y": 3}}) as nucleus, connected(nucleus) as client:
        assert client.get_configuration().value == {"a": {"x": 1, "y": 3}, "accessControl": ACCESS}
        nucleus.deploy(reset=["/a/y"])
        assert client.get_configuration(key_path=["a"]).value == {"x": 1, "y": 2}


def test_an_update_is_merged_and_told_leaf_by_leaf_without_values(nucleus: FakeNucleus) -> None:
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        client.update_configuration(
            timestamp=now(), value_to_merge={"limits": {"rate": 9, "new": {"deep": 1}}, "folders": ["c"]}
        )
        heard.wait_for_events(3)
        assert keys(heard) == [["limits", "rate"], ["limits", "new", "deep"], ["folders"]]
        assert {event.configuration_update_event.component_name for event in heard.events} == {
            nucleus.component
        }
        assert client.get_configuration(key_path=["limits"]).value == {
            "rate": 9,
            "window": {"from": "1:00"},
            "new": {"deep": 1},
        }
        assert client.get_configuration(key_path=["folders"]).value == {"folders": ["c"]}


def test_events_may_come_before_the_update_is_answered(nucleus: FakeNucleus) -> None:
    nucleus.events_before_answer = 2
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        client.update_configuration(timestamp=now(), value_to_merge={"one": 1, "two": 2})
        assert keys(heard) == [["one"], ["two"]]


def test_a_value_that_stays_the_same_is_no_event(nucleus: FakeNucleus) -> None:
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        nucleus.deploy({"bucket": "b", "limits": {"rate": 5}})
        nucleus.deploy({"bucket": "other"})
        heard.wait_for_events(1)
    assert keys(heard) == [["bucket"]]


def test_a_deployment_is_told_to_subscribers_of_the_key_or_one_above_it(nucleus: FakeNucleus) -> None:
    whole, part, elsewhere = Heard(), Heard(), Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**whole.callbacks)
        client.subscribe_to_configuration_update(key_path=["limits"], **part.callbacks)
        client.subscribe_to_configuration_update(key_path=["folders"], **elsewhere.callbacks)
        nucleus.deploy({"limits": {"window": {"from": "2:00"}}, "bucket": "c"})
        whole.wait_for_events(2)
        part.wait_for_events(1)
    assert keys(whole) == [["limits", "window", "from"], ["bucket"]]
    assert keys(part) == [["limits", "window", "from"]]
    assert keys(elsewhere) == []


def test_who_reads_in_the_middle_of_a_deployment_sees_half_of_it(
    nucleus: FakeNucleus, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    with connected(nucleus) as client:

        def read() -> None:
            seen.append([key for key in client.get_configuration().value if key in {"one", "two"}])

        monkeypatch.setattr(nucleus, "between_changes", read)
        nucleus.deploy({"one": 1, "two": 2})
    assert seen == [["one"], ["one", "two"]]


def test_a_key_that_goes_is_told_on_classic_and_not_on_lite(nucleus: FakeNucleus) -> None:
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        nucleus.deploy({"after": True}, reset=["/limits/window"])
        heard.wait(lambda heard: ["after"] in keys(heard))
        assert client.get_configuration(key_path=["limits"]).value == {"rate": 5}
    told = [["limits", "window"]] if nucleus.kind.name == CLASSIC else []
    assert keys(heard) == [*told, ["after"]]


def test_a_key_that_is_missing_cannot_be_subscribed_to(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client, pytest.raises(model.ResourceNotFoundError):
        client.subscribe_to_configuration_update(key_path=["none"], **Heard().callbacks)


def test_a_component_cannot_change_its_own_policies(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        forbidden: list[tuple[list[str], dict[str, Any]]] = [
            ([], {"accessControl": {}}),
            (["accessControl"], {"x": {}}),
        ]
        for key_path, merged in forbidden:
            with pytest.raises(model.InvalidArgumentsError):
                client.update_configuration(timestamp=now(), key_path=key_path, value_to_merge=merged)


def test_an_update_older_than_the_value_is_refused_on_classic_and_ignored_on_lite(
    nucleus: FakeNucleus,
) -> None:
    with connected(nucleus) as client:
        nucleus.deploy({"bucket": "new"})
        old = now() - dt.timedelta(days=1)
        if nucleus.kind.name == CLASSIC:
            with pytest.raises(model.FailedUpdateConditionCheckError):
                client.update_configuration(timestamp=old, value_to_merge={"bucket": "old"})
        else:
            client.update_configuration(timestamp=old, value_to_merge={"bucket": "old"})
        assert client.get_configuration(key_path=["bucket"]).value == {"bucket": "new"}


def test_a_deployment_from_the_cloud_ends_with_a_restart(nucleus: FakeNucleus) -> None:
    restarted: list[str] = []
    nucleus.on_restart = restarted.append
    nucleus.deploy({"bucket": "c"})
    assert restarted == []
    nucleus.deploy({"bucket": "d"}, restart=True)
    assert restarted == [nucleus.component]


def test_scalars_deployed_locally_from_yaml_can_be_made_strings() -> None:
    given = {"rate": 5, "on": True, "list": [1.5, None], "name": "n"}
    assert as_strings(given) == {"rate": "5", "on": "true", "list": ["1.5", None], "name": "n"}


# -- proposals


@pytest.mark.parametrize("status", ["ACCEPTED", "REJECTED"])
def test_a_proposal_is_deployed_only_if_the_component_accepts_it(classic: FakeNucleus, status: str) -> None:
    proposed = []
    with connected(classic) as client:

        def report(events: Any) -> None:
            event = events.validate_configuration_update_event
            proposed.append(event.configuration)
            client.send_configuration_validity_report_async(
                configuration_validity_report=model.ConfigurationValidityReport(
                    status=status, deployment_id=event.deployment_id, message="why"
                )
            )

        client.subscribe_to_validate_configuration_updates(on_stream_event=report)
        reported = classic.propose({"limits": {"rate": 6}})
        assert reported is not None
        assert (reported["status"], reported["message"]) == (status, "why")
        rate = client.get_configuration(key_path=["limits", "rate"]).value
    assert proposed == [{**CONFIGURATION, "limits": {"rate": 6, "window": {"from": "1:00"}}}]
    assert rate == {"rate": 6 if status == "ACCEPTED" else 5}


def test_without_a_subscriber_a_proposal_is_deployed_unasked(nucleus: FakeNucleus) -> None:
    assert nucleus.propose({"bucket": "c"}) is None
    assert nucleus.components[nucleus.component].configuration["bucket"] == "c"


def test_a_proposal_that_nobody_reports_on_is_not_deployed(classic: FakeNucleus) -> None:
    with connected(classic) as client:
        client.subscribe_to_validate_configuration_updates(**Heard().callbacks)
        with pytest.raises(TimeoutError):
            classic.propose({"bucket": "c"}, seconds=0.1)
        assert client.get_configuration(key_path=["bucket"]).value == {"bucket": "b"}


def test_a_report_of_another_deployment_is_an_invalid_argument(classic: FakeNucleus) -> None:
    with connected(classic) as client:
        reported: queue.Queue[Any] = queue.Queue()

        def report(_events: Any) -> None:
            other = model.ConfigurationValidityReport(status="ACCEPTED", deployment_id="another")
            reported.put(client.send_configuration_validity_report_async(configuration_validity_report=other))

        client.subscribe_to_validate_configuration_updates(on_stream_event=report)
        with pytest.raises(TimeoutError):
            classic.propose({"bucket": "c"}, seconds=0.3)
        assert isinstance(reported.get(timeout=20).exception(20), model.InvalidArgumentsError)


def test_a_report_that_nobody_asked_for_is_an_invalid_argument(classic: FakeNucleus) -> None:
    report = model.ConfigurationValidityReport(status="ACCEPTED", deployment_id="none")
    with connected(classic) as client, pytest.raises(model.InvalidArgumentsError) as refused:
        client.send_configuration_validity_report(configuration_validity_report=report)
    assert "never made" in refused.value.message


# -- updates of components


def test_an_update_waits_until_the_component_no_longer_defers_it(classic: FakeNucleus) -> None:
    heard, answers = Heard(), iter([60_000, 5, 0])
    told: list[int] = []
    with connected(classic) as client:

        def defer(events: Any) -> None:
            if events.pre_update_event is not None:
                client.defer_component_update_async(
                    deployment_id=events.pre_update_event.deployment_id,
                    message="busy",
                    recheck_after_ms=next(answers),
                )
            heard.callbacks["on_stream_event"](events)

        client.subscribe_to_component_updates(on_stream_event=defer)
        deferred = classic.announce_update(
            lambda: classic.deploy({"bucket": "c"}), before_recheck=told.append
        )
        events = heard.wait_for_events(4)
    assert (deferred.times, deferred.milliseconds, deferred.messages) == (2, [60_000, 5], ["busy", "busy"])
    assert told == [1, 2]
    assert [event.pre_update_event is not None for event in events] == [True, True, True, False]
    first = events[0].pre_update_event
    assert first.is_ggc_restarting is False
    assert {event.pre_update_event.deployment_id for event in events[:3]} == {first.deployment_id}
    assert events[3].post_update_event.deployment_id == first.deployment_id
    assert classic.components[classic.component].configuration["bucket"] == "c"


def test_an_update_goes_ahead_without_subscribers_or_if_they_say_nothing(classic: FakeNucleus) -> None:
    assert classic.announce_update().times == 0
    with connected(classic) as client:
        heard = Heard()
        client.subscribe_to_component_updates(**heard.callbacks)
        assert classic.announce_update(answer_seconds=0.1).times == 0
        heard.wait_for_events(2)


def test_a_deferral_of_another_deployment_defers_nothing(classic: FakeNucleus) -> None:
    with connected(classic) as client:

        def defer(events: Any) -> None:
            if events.pre_update_event is not None:
                client.defer_component_update_async(deployment_id="another", recheck_after_ms=60_000)

        client.subscribe_to_component_updates(on_stream_event=defer)
        assert classic.announce_update().times == 0


def test_a_deferral_without_subscription_or_after_its_time_is_refused(classic: FakeNucleus) -> None:
    with connected(classic) as client:
        with pytest.raises(model.InvalidArgumentsError):
            client.defer_component_update(deployment_id="d", recheck_after_ms=5)
        client.subscribe_to_component_updates(**Heard().callbacks)
        with pytest.raises(model.ServiceError):
            client.defer_component_update(deployment_id="d", recheck_after_ms=5)


def test_a_reported_state_is_on_record(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        client.update_state(state=model.ReportedLifecycleState.RUNNING)
        with pytest.raises(model.InvalidArgumentsError):
            client.update_state(state="SLEEPING")
    assert nucleus.record.states == [(nucleus.component, "RUNNING")]


# -- topics


def test_a_local_message_reaches_those_who_subscribed_to_its_topic(nucleus: FakeNucleus) -> None:
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_topic(topic="commands", **heard.callbacks)
        nucleus.publish("commands", {"do": "pause"})
        nucleus.publish("other", {"do": "not"})
        nucleus.publish("commands", b"\x00bytes")
        first, second = heard.wait_for_events(2)
    assert (first.json_message.message, first.json_message.context.topic) == ({"do": "pause"}, "commands")
    assert second.binary_message.message == b"\x00bytes"


def test_a_component_hears_its_own_messages_unless_it_wants_only_those_of_others(
    nucleus: FakeNucleus,
) -> None:
    of_all, of_others = Heard(), Heard()
    with connected(nucleus) as client:
        client.subscribe_to_topic(
            topic="uploader/a/status", receive_mode="RECEIVE_ALL_MESSAGES", **of_all.callbacks
        )
        client.subscribe_to_topic(
            topic="uploader/a/status", receive_mode="RECEIVE_MESSAGES_FROM_OTHERS", **of_others.callbacks
        )
        own = model.PublishMessage(json_message=model.JsonMessage(message={"own": True}))
        client.publish_to_topic(topic="uploader/a/status", publish_message=own)
        nucleus.publish("uploader/a/status", {"own": False})
        heard = [event.json_message.message for event in of_all.wait_for_events(2)]
        assert heard == [{"own": True}, {"own": False}]
        assert [event.json_message.message for event in of_others.wait_for_events(1)] == [{"own": False}]


def test_what_is_published_is_on_record_with_its_topic_and_payload(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        for message in (
            model.PublishMessage(json_message=model.JsonMessage(message={"n": 1})),
            model.PublishMessage(binary_message=model.BinaryMessage(message=b"\xff")),
        ):
            client.publish_to_topic(topic="uploader/x/status", publish_message=message)
        client.publish_to_iot_core(topic_name="cloud/a/b", qos="1", payload=b"up")
    published = [(one.topic, one.payload, one.is_to_iot_core, one.qos) for one in nucleus.record.published]
    assert published == [
        ("uploader/x/status", {"n": 1}, False, None),
        ("uploader/x/status", b"\xff", False, None),
        ("cloud/a/b", b"up", True, "1"),
    ]


def test_a_topic_that_no_policy_allows_is_unauthorized(nucleus: FakeNucleus) -> None:
    message = model.PublishMessage(json_message=model.JsonMessage(message={}))
    with connected(nucleus) as client:
        attempts: list[Callable[[], Any]] = [
            lambda: client.publish_to_topic(topic="uploader/status", publish_message=message),
            lambda: client.publish_to_topic(topic="one/mqtt/level", publish_message=message),
            lambda: client.subscribe_to_topic(topic="all", **Heard().callbacks),
            lambda: client.publish_to_iot_core(topic_name="clouds/a", qos="0", payload=b""),
            lambda: client.publish_to_iot_core(topic_name="cmd/a/b/x", qos="0", payload=b""),
        ]
        for attempt in attempts:
            with pytest.raises(model.UnauthorizedError):
                attempt()
        client.publish_to_iot_core(topic_name="cmd/a/x", qos="0", payload=b"")
    assert [one.topic for one in nucleus.record.published] == ["cmd/a/x"]


# -- what a nucleus cannot do, or a test forbids


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.subscribe_to_component_updates(**Heard().callbacks),
        lambda client: client.defer_component_update(deployment_id="d"),
        lambda client: client.subscribe_to_validate_configuration_updates(**Heard().callbacks),
        lambda client: client.list_components(),
        lambda client: client.get_secret_value(secret_id="s"),
        lambda client: client.get_thing_shadow(thing_name="t"),
        lambda client: client.put_component_metric(metrics=[]),
    ],
)
def test_what_lite_does_not_have_is_a_service_error_and_the_connection_stays(
    lite: FakeNucleus, call: Any
) -> None:
    with connected(lite) as client:
        with pytest.raises(model.ServiceError):
            call(client)
        assert client.get_configuration(key_path=["bucket"]).value == {"bucket": "b"}


def test_lite_leaves_an_error_s_message_empty_where_the_client_looks(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client, pytest.raises(model.ResourceNotFoundError) as refused:
        client.get_configuration(key_path=["none"])
    assert refused.value.message == ("Key not found" if nucleus.kind.name == CLASSIC else None)


def test_any_operation_can_be_unsupported_or_unauthorized(nucleus: FakeNucleus) -> None:
    nucleus.kind.unsupported.add("GetConfiguration")
    nucleus.unauthorized.add("UpdateState")
    with connected(nucleus) as client:
        with pytest.raises(model.ServiceError):
            client.get_configuration()
        with pytest.raises(model.UnauthorizedError):
            client.update_state(state="RUNNING")
    assert nucleus.record.states == []


def test_requests_are_on_record_as_they_came(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        client.get_configuration(key_path=["bucket"])
    assert nucleus.wait_for_request("GetConfiguration") == [{"keyPath": ["bucket"]}]
    assert [request.component for request in nucleus.record.requests] == [nucleus.component]
