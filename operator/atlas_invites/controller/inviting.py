"""One try to make Atlas agree with a live object: claim, put the finalizer on, look, decide, act."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from atlas_invites.controller.refusals import Observed, Refusal, is_conflict, is_refused_write, refused_before
from atlas_invites.controller.roles import set_invitation_roles, set_member_roles
from atlas_invites.controller.sending import Sender, begin_wait, hold_back, origin_of, who_is_elsewhere
from atlas_invites.invitation.case import Sight, case_of, target
from atlas_invites.invitation.conditions import READY
from atlas_invites.invitation.email import email_key
from atlas_invites.invitation.model import Api, Operation, Origin, Seen, State
from atlas_invites.invitation.outcome import ClusterUnavailable, Did, Failure, Outcome, Reason, Stale
from atlas_invites.invitation.plan import Do, answered, done, is_conclusive, judge, outcome_of
from atlas_invites.invitation.resource import KIND
from atlas_invites.telemetry.metrics import SENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlas_invites.controller.attempt import Attempt
    from atlas_invites.controller.memory import Memories
    from atlas_invites.controller.ports import Atlas, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.controller.writer import Writer
    from atlas_invites.invitation.case import Case
    from atlas_invites.invitation.model import Invitation, Status
    from atlas_invites.invitation.plan import Action

_DUPLICATE = (
    "This invitation is managed by {by}, which is older. This object takes over when that object is deleted; "
    "until then it does nothing."
)

_MAY_BE_ANOTHERS = (
    f"This invitation may be managed by an {KIND} of another namespace, which the operator cannot list, so this object "
    "does nothing. The operator's log names the namespace: grant the right to list it, or remove it from --namespace."
)


class Inviter:
    """Makes Atlas agree with live objects.

    Args:
        store: the latest of every object.
        writer: puts the finalizer on.
        atlas: for its clock.
        memories: what this process knows of every object.
        clock: monotonic seconds.
    """

    def __init__(
        self, store: Store, writer: Writer, atlas: Atlas, memories: Memories, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._claims = store.claims
        self._writer = writer
        self._atlas = atlas
        self._memories = memories
        self._clock = clock
        self._sender = Sender(atlas, clock)

    async def invite(self, attempt: Attempt, project: Project) -> Outcome:
        """Look, decide, and do in the project what is to be done.

        Raises:
            Failure: what Atlas answered.
            Stale: the object has changed or gone meanwhile.
            Later: it waits for another object.
            ClusterUnavailable: the finalizer could not be written.
        """
        key = attempt.resource.key
        if not self._claims.is_proven(key):
            await project.look(target(attempt.spec, attempt.known), attempt.since, lambda _: True)
        self._check(attempt)
        self._claims.prove(key)
        if (duplicate := self._yield_to_older(attempt)) is not None:
            return duplicate
        if not attempt.resource.has_finalizer:
            attempt.resource = await self._writer.add_finalizer(attempt.resource)
            attempt.memory.finalizer_ours = not _was_looked_at(attempt.known)
            self._check(attempt)
        if (pending := _patchable_invitation(attempt, project)) is not None:
            action = self._decide(attempt, project, Seen(invitations=(pending,)))
            with self._remembering(attempt, action):
                updated = await project.update_invite(pending.id, sorted(attempt.spec.roles))
            if updated is not None:
                action = self._decide(attempt, project, Seen(invitations=(updated,)))
                return self._outcome(attempt, action, Did.SET_ROLES)
        # A refused send is not repeated, so the lists are enough to say so again.
        is_listed_enough = attempt.may_be_refused or not self._may_have_one(attempt)
        action = await self._look(attempt, project, attempt.since, never_had_one=is_listed_enough)
        claims_more = self._claim_found(attempt, project, action.case)
        if claims_more and (duplicate := self._yield_to_older(attempt)) is not None:
            return duplicate
        if self._may_be_of_an_unknown(attempt, action.case):
            return Outcome(Reason.DUPLICATE_INVITE, _MAY_BE_ANOTHERS)
        return await self._perform(attempt, project, action)

    def _claim_found(self, attempt: Attempt, project: Project, case: Case) -> bool:
        """Claim what was found too; return whether that is more than before: it may be another object's."""
        there = case.invitation or case.member
        if there is None or case.somebody_else:
            return False
        return self._claims.add_found(attempt.resource.key, project.group_id, there.id, there.username)

    def _may_be_of_an_unknown(self, attempt: Attempt, case: Case) -> bool:
        """Return whether what was observed may be claimed by an object of a namespace that was never listed."""
        there = case.invitation or case.member
        return bool(self._claims.unknown) and there is not None and not attempt.memory.is_known(attempt.known, there.id)

    def _check(self, attempt: Attempt) -> None:
        attempt.check(self._store.get(attempt.resource.key))

    def _yield_to_older(self, attempt: Attempt) -> Outcome | None:
        """Return the outcome of an object that is not the first to name its invitation, or None for the first.

        Raises:
            Later: an older one has yet to be evaluated.
        """
        key = attempt.resource.key
        attempt.memory.await_others(self._clock(), waiting=self._claims.awaits_older(key))
        holder = self._claims.holder(key)
        if holder is None:
            return None
        by = f"{KIND} {holder.name}" if holder.namespace == key.namespace else f"an {KIND} of another namespace"
        return Outcome(Reason.DUPLICATE_INVITE, _DUPLICATE.format(by=by), origin=Origin.ADOPTED)

    def _may_have_one(self, attempt: Attempt) -> bool:
        """Return whether something may have been sent for the object, which a list that lags does not show."""
        key, spec, known, memory = attempt.resource.key, attempt.spec, attempt.known, attempt.memory
        return (
            not memory.finalizer_ours
            or known.invitation is not None
            or known.member is not None
            or spec.invitation_id is not None
            or memory.confirming_since is not None
            or memory.conflicted
            or self._claims.had_another(key)
            or not self._claims.is_alone(key)
        )

    async def _look(self, attempt: Attempt, project: Project, since: float, *, never_had_one: bool = False) -> Action:
        """Look at Atlas until what is seen bears the decision, and return the decision."""

        def is_enough(seen: Seen) -> bool:
            return is_conclusive(self._decide(attempt, project, seen), never_had_one=never_had_one)

        seen = await project.look(target(attempt.spec, attempt.known), since, is_enough)
        return self._decide(attempt, project, seen)

    def _decide(self, attempt: Attempt, project: Project, seen: Seen) -> Action:
        case = case_of(attempt.spec, attempt.known, seen, self._atlas.now(), project.api)
        there = case.member or case.invitation
        unseen = attempt.memory.unseen_roles(there.id, case.roles) if there is not None else None
        return judge(replace(case, is_repeat=attempt.resource.is_evaluated_by(attempt.known), unseen_roles=unseen))

    async def _perform(self, attempt: Attempt, project: Project, action: Action) -> Outcome:
        """Do in Atlas what the action says, and return the outcome by what Atlas answered."""
        if action.row.do is Do.SEND:
            since = attempt.since
            async with self._sender.one_at_a_time(_person(attempt, project)) as waited:
                if waited:
                    since = self._clock()
                    action = await self._look(attempt, project, since)
                if action.row.do is Do.SEND:
                    if (refused := await self._standing_refusal(attempt, project, action)) is not None:
                        return refused
                    if not is_conclusive(action, never_had_one=not self._may_have_one(attempt)):
                        action = await self._look(attempt, project, since)
                if action.row.do is Do.SEND:
                    with self._remembering(attempt, action):
                        return await self._send(attempt, project, action, since)
        case = action.case
        if case.member is not None or (case.invitation is not None and case.invitation.api is Api.INVITES):
            self._sender.found(_person(attempt, project), attempt.memory)
        if action.row.do is Do.SET_ROLES:
            if (refused := await self._standing_refusal(attempt, project, action)) is not None:
                return refused
            with self._remembering(attempt, action):
                case, wrote = await _with_roles_set(project, case, partial(self._check, attempt))
            return self._outcome(attempt, replace(action, case=case), Did.SET_ROLES if wrote else None)
        return self._outcome(attempt, action)

    async def _standing_refusal(self, attempt: Attempt, project: Project, action: Action) -> Outcome | None:
        """Return the outcome of the same write if Atlas refused it, and nothing has changed since.

        After a restart, the credentials first read and what is first seen count as those of the refusal.
        """
        memory, request, now = attempt.memory, attempt.request, self._clock()
        outcome = memory.refusal.outcome if memory.refusal else refused_before(attempt.resource, attempt.known)
        if outcome is None or request is None:
            return None
        elsewhere: frozenset[str] = frozenset()
        if is_conflict(outcome) and action.row.do is Do.SEND:
            elsewhere = await who_is_elsewhere(project, attempt.spec.username or "")
        observed = Observed.of(action, elsewhere)
        memory.refusal = memory.refusal or Refusal(request, observed, outcome, now)
        return outcome if memory.refusal.stands(request, observed, now) else None

    @contextmanager
    def _remembering(self, attempt: Attempt, action: Action) -> Iterator[None]:
        """Remember what a write asks Atlas for, until it is seen; and the write, if Atlas refuses it."""
        case, memory, before = action.case, attempt.memory, attempt.memory.roles_written
        if action.row.do is Do.SET_ROLES and (there := case.member or case.invitation) is not None:
            memory.roles_written = (there.id, attempt.spec.roles)
        try:
            yield
        except (Stale, ClusterUnavailable):
            memory.roles_written = before  # it was not let out
            raise
        except Failure as failure:
            if not failure.unanswered:
                memory.roles_written = before
            if attempt.request is not None and is_refused_write(failure.reason, failure.error):
                outcome = Outcome.of(failure)
                observed = Observed.of(action, memory.elsewhere if is_conflict(outcome) else frozenset())
                memory.refusal = Refusal(attempt.request, observed, outcome, self._clock())
            raise

    async def _send(self, attempt: Attempt, project: Project, action: Action, since: float) -> Outcome:
        """Send, unless it has to wait. ``since``: as of when Atlas was seen (monotonic seconds)."""
        person, memory = _person(attempt, project), attempt.memory
        self._sender.heed_others(person, memory, alone=self._claims.is_alone(attempt.resource.key))
        self._heed_former(attempt, project)
        wait = hold_back(memory, action.case, since, self._clock())
        if wait is not None:
            return wait
        self._check(attempt)
        info = project.info
        try:
            answer = await self._sender.post(person, memory, action.case, project)
        except Failure as failure:
            if not failure.unanswered:
                raise
            return replace(Outcome.of(failure), atlas=info)
        action = answered(action, answer)
        if action.case.sight is Sight.PENDING:
            SENT.inc()
        return self._outcome(attempt, action, Did.SEND)

    def _heed_former(self, attempt: Attempt, project: Project) -> None:
        """Let a sending of a former process for another object count as one of this object's that got no answer.

        That object has, or had until it was deleted, a finalizer which is not from this process, and status shows
        nothing that came of it. An invitation of the invites API that its status shows counts too, once only the users
        API can be asked: nobody can see whether it is still pending.
        """
        for key in self._claims.rivals(attempt.resource.key):
            rival = self._store.get(key)
            if rival is None:
                continue
            known, is_pending = rival.status.invitation, rival.status.state is State.PENDING
            if known is not None and is_pending and known.api is Api.INVITES and project.api is Api.USERS:
                attempt.memory.lost_invite = known.created or self._atlas.now()
            is_silent = known is None and rival.status.member is None
            if is_silent and rival.has_finalizer and not self._memories.of(rival).finalizer_ours:
                begin_wait(attempt.memory, self._clock())
        gone_at = self._claims.doubtful_since(attempt.resource.key)
        if gone_at is not None:
            attempt.memory.confirming_since = max(attempt.memory.confirming_since or gone_at, gone_at)

    @staticmethod
    def _outcome(attempt: Attempt, action: Action, did: Did | None = None) -> Outcome:
        outcome = outcome_of(action if did is None else done(action))
        if did is Did.SEND:
            return replace(outcome, origin=Origin.CREATED, did=did)
        if outcome.origin is not None and outcome.invitation is not None:
            outcome = replace(outcome, origin=origin_of(attempt.memory, outcome.invitation))
        return replace(outcome, did=did)


def _person(attempt: Attempt, project: Project) -> str:
    """Return a name for whom the object invites to which project."""
    return f"{project.group_id}/{email_key(attempt.spec.username or '')}"


def _was_looked_at(known: Status) -> bool:
    """Return whether status shows that Atlas was looked at for the object: our finalizer may have been on it then."""
    return known.atlas is not None or known.invitation is not None or known.member is not None


def _patchable_invitation(attempt: Attempt, project: Project) -> Invitation | None:
    """Return the object's own pending invitation if it has other roles: one PATCH by id is all there is to do.

    Not if the last write of roles got no response of Atlas: then Atlas is looked at first.
    """
    known, invitation, ready = attempt.known, attempt.known.invitation, attempt.known.condition(READY)
    if (
        attempt.resource.has_finalizer
        and invitation is not None
        and invitation.api is project.api is Api.INVITES
        and known.state is State.PENDING
        and ready is not None
        and ready.reason not in {Reason.IDENTITY_MISMATCH, Reason.DUPLICATE_INVITE}
        and frozenset(invitation.roles) != attempt.spec.roles
        and (attempt.memory.roles_written is None or _failed_update(known))
        and not attempt.may_be_refused
        and not (ready.reason == Reason.ROLES_DIFFER and attempt.resource.is_evaluated_by(known))
    ):
        return invitation
    return None


def _failed_update(known: Status) -> bool:
    """Return whether Atlas last responded to a PATCH of the invitation with an error."""
    return known.error is not None and known.error.operation is Operation.UPDATE_INVITE


async def _with_roles_set(project: Project, case: Case, check: Callable[[], None]) -> tuple[Case, bool]:
    """Set the roles of what is there. Return the case as Atlas responded, and whether anything was written."""
    roles, email = case.spec.roles, case.found_by_email
    if case.invitation is not None:
        invitation, wrote = await set_invitation_roles(project, case.invitation, roles, check, email)
        return replace(case, invitation=invitation), wrote
    if case.member is not None:
        member, wrote = await set_member_roles(project, case.member, roles, check, email)
        return replace(case, member=member), wrote
    return case, False
