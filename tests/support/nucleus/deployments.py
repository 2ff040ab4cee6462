"""What a deployment does to a running component, each a single call in the test's thread.

They compose as on a device: on the classic nucleus a deployment is proposed, announced and then carried out;
on lite it is just carried out.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from support.nucleus.configuration import MISSING, merge_steps, reset_steps, take
from support.nucleus.record import DEADLINE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from support.nucleus.component import Component
    from support.nucleus.configuration import Step
    from support.nucleus.connection import Stream
    from support.nucleus.kinds import Kind
    from support.nucleus.record import Record

__all__ = ["Deferred", "Deployments"]


@dataclass
class Deferred:
    """How often an update was deferred, for how long each time, and what was said about it."""

    milliseconds: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def times(self) -> int:
        return len(self.milliseconds)


class Deployments:
    """The part of a nucleus that deploys."""

    kind: Kind
    record: Record
    component: str
    components: dict[str, Component]
    event_spread_seconds: float
    # Called in the test's thread when a deployment restarts a component: `install` again, SIGTERM, `run`.
    on_restart: Callable[[str], None] | None = None

    def forget_promises(self) -> None:
        """No answer to anything sent before is expected any more."""
        self.pending_reports: dict[str, str] = {}  # component: deployment
        self.reports: dict[str, dict[str, Any]] = {}  # deployment: what was reported
        self.pending_updates: dict[str, str] = {}
        self.deferrals: list[tuple[str, dict[str, Any]]] = []

    def do(self, work: Callable[[], Any]) -> Any:
        raise NotImplementedError

    def subscriptions(self, operation: str | None = None, component: str | None = None) -> list[Stream]:
        raise NotImplementedError

    def deploy(
        self,
        configuration: Mapping[str, Any] | None = None,
        *,
        reset: Iterable[str] = (),
        component: str | None = None,
        restart: bool = False,
    ) -> None:
        """Change a configuration leaf by leaf, with an event for each; `reset` holds JSON pointers.

        With `restart` it is a deployment from the cloud, after which `on_restart` is called.
        """
        target = self.components[component or self.component]
        steps = self._steps(target, configuration, reset)
        for step in steps:
            self.do(partial(self._carry_out, target, step))
            self.between_changes()
        if restart and self.on_restart is not None:
            self.on_restart(target.name)

    def propose(
        self,
        configuration: Mapping[str, Any] | None = None,
        *,
        reset: Iterable[str] = (),
        component: str | None = None,
        seconds: float = DEADLINE_SECONDS,
    ) -> dict[str, Any] | None:
        """Ask the component whether it would take this, and deploy it if so. Its report, or None: not asked.

        TimeoutError if it does not report in time; then nothing is deployed.
        """
        target = self.components[component or self.component]
        new = copy.deepcopy(target.configuration)
        for step in self._steps(target, configuration, reset):
            take(new, step)
        deployment = str(uuid4())
        if not self.do(lambda: self._ask(target.name, deployment, new)):
            self.deploy(configuration, reset=reset, component=component)
            return None
        try:
            report = self.record.wait_for(lambda: self.reports.get(deployment), seconds)
        finally:
            self.do(lambda: self.pending_reports.pop(target.name, None))
        assert report is not None
        if report.get("status") == "ACCEPTED":
            self.deploy(configuration, reset=reset, component=component)
        return report

    def announce_update(
        self,
        update: Callable[[], None] | None = None,
        *,
        component: str | None = None,
        is_ggc_restarting: bool = False,
        before_recheck: Callable[[int], None] | None = None,
        longest_recheck_seconds: float = 0.01,
        answer_seconds: float = DEADLINE_SECONDS,
        seconds: float = 60.0,
    ) -> Deferred:
        """Announce an update until no subscriber defers it, do `update`, and say that it is done.

        A recheck comes after as long as was asked for, or `longest_recheck_seconds` if that is less; before
        it `before_recheck` is told how often the update was deferred so far. A subscriber that says nothing
        within `answer_seconds` does not defer. TimeoutError if it is still deferred after `seconds`.
        """
        name, deferred, deployment = component or self.component, Deferred(), str(uuid4())
        deadline = time.monotonic() + seconds
        while (asked := self._announce(name, deployment, is_ggc_restarting, answer_seconds)) is not None:
            deferred.milliseconds.append(asked[0])
            deferred.messages.append(asked[1])
            if time.monotonic() > deadline:
                raise TimeoutError(f"still deferred: {deferred}")
            if before_recheck is not None:
                before_recheck(deferred.times)
            threading.Event().wait(min(asked[0] / 1000, longest_recheck_seconds))
        if update is not None:
            update()
        done = {"postUpdateEvent": {"deploymentId": deployment}}
        self.do(lambda: self._tell("SubscribeToComponentUpdates", name, "ComponentUpdatePolicyEvents", done))
        return deferred

    @staticmethod
    def as_message(message: Any) -> tuple[str, Any]:
        if isinstance(message, bytes):
            return "binaryMessage", base64.b64encode(message).decode()
        return "jsonMessage", message

    # -- in parts

    def _steps(
        self, target: Component, configuration: Mapping[str, Any] | None, reset: Iterable[str]
    ) -> list[Step]:
        """First the resets, then what is merged: as both nuclei do it."""
        after = copy.deepcopy(target.configuration)
        steps = reset_steps(after, target.defaults, reset)
        for step in steps:
            take(after, step)
        return steps + merge_steps(after, dict(configuration or {}))

    def _carry_out(self, target: Component, step: Step) -> None:
        target.take(step, time.time())
        self.tell_change(target, step)

    def between_changes(self) -> None:
        """Between a leaf and the next, in the test's thread. A test that looks at that moment replaces it."""
        threading.Event().wait(self.event_spread_seconds)

    async def tell_slowly(self, target: Component, steps: list[Step]) -> None:
        for step in steps:
            await asyncio.sleep(self.event_spread_seconds)
            self.tell_change(target, step)

    def tell_change(self, target: Component, step: Step) -> None:
        """To whoever subscribed to this key or to one above it, with the key and without the value."""
        if step.value is MISSING and not self.kind.does_tell_removals:
            return
        event = {"componentName": target.name, "keyPath": list(step.path)}
        for stream in self.subscriptions("SubscribeToConfigurationUpdate"):
            watched = tuple(stream.body.get("keyPath") or ())
            name = stream.body.get("componentName") or stream.component
            if name == target.name and step.path[: len(watched)] == watched:
                stream.send("ConfigurationUpdateEvents", {"configurationUpdateEvent": event})

    def _ask(self, name: str, deployment: str, configuration: dict[str, Any]) -> bool:
        event = {"configuration": configuration, "deploymentId": deployment}
        self.pending_reports[name] = deployment
        told = self._tell(
            "SubscribeToValidateConfigurationUpdates",
            name,
            "ValidateConfigurationUpdateEvents",
            {"validateConfigurationUpdateEvent": event},
        )
        return told > 0

    def _announce(
        self, name: str, deployment: str, is_ggc_restarting: bool, answer_seconds: float
    ) -> tuple[int, str] | None:
        """For how many milliseconds it is deferred, and why; None if it is not."""
        before = len(self.deferrals)
        event = {"deploymentId": deployment, "isGgcRestarting": is_ggc_restarting}

        def send() -> int:
            self.pending_updates[name] = deployment
            body = {"preUpdateEvent": event}
            return self._tell("SubscribeToComponentUpdates", name, "ComponentUpdatePolicyEvents", body)

        try:
            if not self.do(send):
                return None
            self.record.wait_for(lambda: len(self.deferrals) > before, answer_seconds)
        except TimeoutError:
            return None
        finally:
            self.do(lambda: self.pending_updates.pop(name, None))
        body = self.deferrals[before][1]
        milliseconds = int(body.get("recheckAfterMs") or 0)
        # An answer about another deployment is none.
        if body.get("deploymentId") != deployment or milliseconds <= 0:
            return None
        return milliseconds, str(body.get("message") or "")

    def _tell(self, operation: str, component: str, model: str, body: dict[str, Any]) -> int:
        streams = self.subscriptions(operation, component)
        for stream in streams:
            stream.send(model, body)
        return len(streams)
