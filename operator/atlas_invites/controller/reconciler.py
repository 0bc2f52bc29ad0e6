"""One key, start to end: look, decide, act, write."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_invites.controller.claims import leads_elsewhere
from atlas_invites.controller.memory import Memories
from atlas_invites.controller.refusals import REFUSED_FOR, Refusal, Request, refused_before
from atlas_invites.controller.roles import set_invitation_roles, set_member_roles
from atlas_invites.controller.sending import Sender, must_wait, origin_of
from atlas_invites.invitation.case import Sight, target
from atlas_invites.invitation.conditions import READY, Evaluated, next_status, suspended_status
from atlas_invites.invitation.events import notices
from atlas_invites.invitation.model import Api, Origin, Seen, State
from atlas_invites.invitation.outcome import Did, Failure, Kind, Outcome, Reason, Stale, requeue_after
from atlas_invites.invitation.plan import Do, answered, decide, outcome_of
from atlas_invites.invitation.resource import KIND
from atlas_invites.telemetry.metrics import SENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.deletion import Deletion
    from atlas_invites.controller.memory import Memory
    from atlas_invites.controller.ports import Atlas, Events, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.controller.writer import Writer
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.plan import Action
    from atlas_invites.invitation.resource import Key, Resource


_DUPLICATE = (
    "This invitation is managed by {by}, which is older. This object takes over when that object is deleted; "
    "until then it does nothing."
)

_LEADS_ELSEWHERE = (
    "The AtlasProject {name} leads to another Atlas project than the one that holds this invitation, so nothing "
    "is done. To invite into the new project, delete and recreate this object."
)


@dataclass(slots=True)
class _Turn:
    """One reconcile of one object.

    Attributes:
        resource: the object; becomes what our own write of the finalizer answered: the same spec, a newer version.
        spec: what it asks for.
        known: its status, with what the cluster could not be told yet.
        memory: what this process knows of it beyond.
        since: as of when Atlas must be seen (monotonic seconds).
    """

    resource: Resource
    spec: Spec
    known: Status
    memory: Memory
    since: float


class Reconciler:
    """Reconciles one object at a time; the work queue sees to it that no key is here twice.

    Args:
        store: the latest of every object.
        writer: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        deletion: what happens to an object that is being deleted.
        events: publishes Kubernetes Events.
        wall: the local time, UTC, for what status says of itself.
        clock: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its collaborators
        self,
        store: Store,
        writer: Writer,
        access: Access,
        atlas: Atlas,
        deletion: Deletion,
        events: Events,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._claims = store.claims
        self._writer = writer
        self._access = access
        self._atlas = atlas
        self._deletion = deletion
        self._wall = wall
        self._clock = clock
        self._events = events
        self._memories = Memories()
        self._sender = Sender(atlas, clock)

    async def reconcile(self, key: Key, since: float) -> Outcome | None:
        """Reconcile the object of that key.

        Args:
            key: which object.
            since: nothing that Atlas showed before this time (monotonic seconds) is acted on.

        Returns:
            How it ended, or None where nothing was evaluated: no object, a suspended one, one whose deletion is done.

        Raises:
            Stale: the object has changed or gone meanwhile; its event makes one more turn.
            Later: it waits for another object.
            ClusterUnavailable: the API server failed; try again.
        """
        resource = self._store.get(key)
        if resource is None:
            return None
        memory = self._memories.of(resource)
        known = memory.completed(resource.status)
        try:
            turn = _Turn(resource, resource.spec, known, memory, since)
        except ValidationError as error:
            if resource.deleting:
                await self._deletion.let_go(resource, "its spec cannot be read, so nothing may be removed")
                return None
            return await self._conclude(resource, known, Outcome(Reason.INVALID_REQUEST, _invalid_spec(error)))
        outcome = await self._evaluate(turn)
        if outcome is None:
            return None
        concluded = await self._conclude(turn.resource, known, outcome)
        if concluded.reason.kind is Kind.SETTLED:
            self._memories.forget(key)
        return concluded

    def forget(self, key: Key) -> None:
        """Forget what is remembered of an object that is gone."""
        self._memories.forget(key)

    async def _evaluate(self, turn: _Turn) -> Outcome | None:
        resource = turn.resource
        if resource.deleting:
            return await self._deletion.delete(resource, turn.spec, turn.known, turn.memory, turn.since)
        if turn.spec.suspend:
            self._claims.evaluated(resource.key)
            wanted = suspended_status(turn.known, resource.generation, self._wall())
            await self._writer.write_status(resource, wanted)
            return None
        try:
            outcome = await self._access.with_credentials(
                resource, turn.spec, turn.since, lambda credentials: self._reconcile(turn, credentials)
            )
        except Failure as failure:
            outcome = Outcome.of(failure)
        self._claims.evaluated(resource.key)
        return outcome

    async def _reconcile(self, turn: _Turn, credentials: Credentials) -> Outcome:
        """Look, decide and act on a live object.

        Raises:
            Failure: what Atlas or the cluster answered.
            Later: it waits for another object.
        """
        group_id = await self._access.group_id(turn.resource, turn.spec)
        if leads_elsewhere(turn.spec, turn.known, group_id):
            name = turn.spec.project_ref and turn.spec.project_ref.name
            return Outcome(Reason.PROJECT_NOT_READY, _LEADS_ELSEWHERE.format(name=name))
        self._claims.resolved(turn.resource, group_id)
        request = Request.of(turn.resource, credentials)
        if (refused := self._standing_refusal(turn, request)) is not None:
            return refused
        project = self._atlas.project(credentials, group_id)
        api = project.api
        try:
            outcome = await self._act(turn, project)
        except Failure as failure:
            if project.api is api:
                if failure.reason in REFUSED_FOR:
                    turn.memory.refusal = Refusal(request, Outcome.of(failure), self._clock())
                raise
            # The invites API has just ended: once more, through the users API.
            outcome = await self._act(turn, project)
        return replace(outcome.in_project(group_id), atlas=outcome.atlas or project.notice)

    def _standing_refusal(self, turn: _Turn, request: Request) -> Outcome | None:
        """Return the outcome of what Atlas refused already, where nothing has changed since and nobody asks again.

        After a restart the credentials first read count as those with which a request was invalid.
        """
        memory, now = turn.memory, self._clock()
        if memory.refusal is None and (outcome := refused_before(turn.resource, turn.known)) is not None:
            memory.refusal = Refusal(request, outcome, now)
        refusal = memory.refusal
        return refusal.outcome if refusal is not None and refusal.stands(request, now) else None

    async def _act(self, turn: _Turn, project: Project) -> Outcome:
        key = turn.resource.key
        if not self._claims.is_proven(key):
            await self._look(turn, project, turn.since, confirm=False)
            self._claims.prove(key)
        self._check_alive(turn)
        if (duplicate := self._younger(turn)) is not None:
            return duplicate
        if not turn.resource.has_finalizer:
            turn.resource = await self._writer.add_finalizer(turn.resource)
            turn.memory.finalizer_ours = True
            self._check_alive(turn)
        if _roles_changed_on_known(turn, project):
            updated = await project.update_invite(turn.known.invitation.id, sorted(turn.spec.roles))  # type: ignore[union-attr]
            if updated is not None:
                return self._outcome(turn, self._decide(turn, project, Seen(invitations=(updated,))), Did.SET_ROLES)
        action = await self._look(turn, project, turn.since)
        if self._claims_more(turn, project, action.case) and (duplicate := self._younger(turn)) is not None:
            return duplicate
        return await self._perform(turn, project, action)

    def _claims_more(self, turn: _Turn, project: Project, case: Case) -> bool:
        """Claim what was found too; return whether that is more than before: it may be another object's."""
        there = case.invitation or case.member
        if there is None or case.somebody_else:
            return False
        return self._claims.found(turn.resource.key, project.group_id, there.id, there.username)

    def _check_alive(self, turn: _Turn) -> None:
        """See that the object has not gone, is not being deleted, and asks for nothing else, since the turn began.

        To be called right before each write to Atlas.

        Raises:
            Stale: it has, or does.
        """
        latest = self._store.get(turn.resource.key)
        if latest is None or latest.uid != turn.resource.uid or latest.deleting:
            raise Stale(f"{turn.resource.key} has gone, or is being deleted")
        if latest.generation > turn.resource.generation:
            raise Stale(f"{turn.resource.key} asks for something else by now")
        if turn.resource.has_finalizer and not latest.has_finalizer:
            raise Stale(f"{turn.resource.key} has lost its finalizer")

    def _younger(self, turn: _Turn) -> Outcome | None:
        """Return the outcome of an object that is not the first to name its invitation.

        Raises:
            Later: an older one has yet to be evaluated.
        """
        key = turn.resource.key
        turn.memory.await_others(self._clock(), waiting=self._claims.awaits_older(key))
        holder = self._claims.holder(key)
        if holder is None:
            return None
        by = f"{KIND} {holder.name}" if holder.namespace == key.namespace else f"an {KIND} of another namespace"
        return Outcome(Reason.DUPLICATE_INVITE, _DUPLICATE.format(by=by), origin=Origin.ADOPTED)

    async def _look(self, turn: _Turn, project: Project, since: float, *, confirm: bool | None = None) -> Action:
        """Look and decide. What can never have been there needs no confirmation that it is not."""
        spec, known, memory = turn.spec, turn.known, turn.memory
        if confirm is None:
            confirm = (
                not memory.finalizer_ours
                or known.invitation is not None
                or known.member is not None
                or spec.invitation_id is not None
                or memory.confirming_since is not None
                or memory.conflicted
                or self._claims.had_another(turn.resource.key)
                or not self._claims.is_alone(turn.resource.key)
            )
        username, invitation_id = target(spec, known)
        seen = await project.look(username=username, invitation_id=invitation_id, since=since, confirm=confirm)
        return self._decide(turn, project, seen)

    def _decide(self, turn: _Turn, project: Project, seen: Seen) -> Action:
        return decide(turn.spec, turn.known, seen, self._atlas.now(), project.api)

    async def _perform(self, turn: _Turn, project: Project, action: Action) -> Outcome:
        """Do in Atlas what the action says, and return the outcome by what Atlas answered."""
        case, check = action.case, partial(self._check_alive, turn)
        if case.sight is Sight.MEMBER or (case.invitation is not None and case.invitation.api is Api.INVITES):
            self._sender.found(_person(turn, project), turn.memory)
        if action.row.do is Do.NOTHING:
            return self._outcome(turn, action)
        if action.row.do is Do.SEND:
            return await self._send(turn, project, action)
        if case.sight is Sight.PENDING and case.invitation is not None:
            invitation = await set_invitation_roles(project, case.invitation, case.spec.roles, check)
            return self._outcome(turn, replace(action, case=replace(case, invitation=invitation)), Did.SET_ROLES)
        if case.member is not None:
            member = await set_member_roles(project, case.member, case.spec.roles, check)
            return self._outcome(turn, replace(action, case=replace(case, member=member)), Did.SET_ROLES)
        raise AssertionError(f"{action.row.do} of {case.sight}")

    async def _send(self, turn: _Turn, project: Project, action: Action) -> Outcome:
        person, since = _person(turn, project), turn.since
        async with self._sender.one_at_a_time(person) as waited:
            if waited:
                since = self._clock()
                action = await self._look(turn, project, since, confirm=True)
            if action.row.do is Do.SEND:
                self._sender.heed_others(person, turn.memory, alone=self._claims.is_alone(turn.resource.key))
                self._heed_former(turn)
                wait = must_wait(turn.memory, action.case, since, self._clock())
                if wait is not None:
                    return wait
                self._check_alive(turn)
                notice = project.notice
                try:
                    answer = await self._sender.post(person, turn.memory, action.case, project)
                except Failure as failure:
                    if not failure.unanswered:
                        raise
                    return replace(Outcome.of(failure), atlas=notice)
                action = answered(action, answer)
                if action.case.sight is Sight.PENDING:
                    SENT.inc()
                return self._outcome(turn, action, Did.SEND)
        return await self._perform(turn, project, action)

    def _heed_former(self, turn: _Turn) -> None:
        """Let a sending of a former process for another object count as one of this object's that got no answer.

        That object has a finalizer which is not from this process, and status shows nothing that came of it.
        """
        for key in self._claims.rivals(turn.resource.key):
            rival = self._store.get(key)
            if rival is not None and rival.has_finalizer and not self._memories.of(rival).finalizer_ours:
                status = rival.status
                if status.invitation is None and status.member is None and turn.memory.confirming_since is None:
                    turn.memory.confirming_since = self._clock()

    @staticmethod
    def _outcome(turn: _Turn, action: Action, did: Did | None = None) -> Outcome:
        outcome = outcome_of(action)
        if did is Did.SEND:
            return replace(outcome, origin=Origin.CREATED, did=did)
        if outcome.origin is not None and outcome.invitation is not None:
            outcome = replace(outcome, origin=origin_of(turn.memory, outcome.invitation))
        return replace(outcome, did=did)

    async def _conclude(self, resource: Resource, known: Status, outcome: Outcome) -> Outcome:
        evaluated = Evaluated(resource.generation, resource.reconcile_requested_at)
        wanted = next_status(known, evaluated, outcome, self._wall())
        memory = self._memories.of(resource)
        if outcome.did is Did.SEND:
            memory.unsaved = wanted
        await self._writer.write_status(resource, wanted)
        memory.unsaved = None
        if outcome.reason not in REFUSED_FOR:
            memory.refusal = None
        for notice in notices(resource.status, wanted, outcome):
            self._events.publish(resource, notice)
        return replace(outcome, requeue_after=requeue_after(outcome, wanted.invitation, self._atlas.now()))


def _person(turn: _Turn, project: Project) -> str:
    """Return a name for whom the object invites to which project."""
    return f"{project.group_id}/{(turn.spec.username or '').lower()}"


def _roles_changed_on_known(turn: _Turn, project: Project) -> bool:
    """Whether one PATCH by id is all there is to do: a pending invitation of this object, with other roles."""
    known, invitation, ready = turn.known, turn.known.invitation, turn.known.condition(READY)
    return (
        turn.resource.has_finalizer
        and invitation is not None
        and invitation.api is project.api is Api.INVITES
        and known.state is State.PENDING
        and ready is not None
        and ready.reason not in {Reason.IDENTITY_MISMATCH, Reason.DUPLICATE_INVITE}
        and frozenset(invitation.roles) != turn.spec.roles
    )


def _invalid_spec(error: ValidationError) -> str:
    """Return what is wrong with a spec that the CRD should have refused: field and rule."""
    problems = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
    return f"The spec cannot be used: {problems}. Correct it, and bring the CRD up to date."
