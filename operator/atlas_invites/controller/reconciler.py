"""One key, start to end: look, decide, act, write."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from atlas_invites.controller.roles import set_invitation_roles, set_member_roles
from atlas_invites.invitation.conditions import READY, Evaluated, next_status, suspended_status
from atlas_invites.invitation.model import Api, Origin, Seen, State
from atlas_invites.invitation.outcome import Failure, Outcome, Reason, requeue_after
from atlas_invites.invitation.plan import Do, Sight, as_member, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from atlas_invites.controller.access import Access
    from atlas_invites.controller.deletion import Deletion
    from atlas_invites.controller.ports import Atlas, Invites, Project
    from atlas_invites.controller.store import Store
    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Spec, Status
    from atlas_invites.invitation.plan import Action
    from atlas_invites.invitation.resource import Key, Resource


@dataclass(slots=True)
class _Turn:
    """One reconcile of one object: what it is about, and as of when Atlas must be seen (monotonic seconds).

    ``resource`` becomes what our own write of the finalizer answered: the same spec, a newer resource version.
    """

    resource: Resource
    spec: Spec
    known: Status
    since: float


class Reconciler:
    """Reconciles one object at a time; the work queue sees to it that no key is here twice.

    Args:
        store: the latest of every object.
        invites: writes to Kubernetes.
        access: credentials and project ids.
        atlas: Atlas.
        deletion: what happens to an object that is being deleted.
        wall: the local time, UTC, for what status says of itself.
    """

    def __init__(  # noqa: PLR0913 - its collaborators
        self,
        store: Store,
        invites: Invites,
        access: Access,
        atlas: Atlas,
        deletion: Deletion,
        *,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._invites = invites
        self._access = access
        self._atlas = atlas
        self._deletion = deletion
        self._wall = wall
        self._refused: dict[Key, tuple[str, Credentials]] = {}

    async def reconcile(self, key: Key, since: float) -> Outcome | None:
        """Reconcile the object of that key.

        Args:
            key: which object.
            since: nothing that Atlas showed before this time (monotonic seconds) is acted on.

        Returns:
            How it ended, or None where nothing was evaluated: no object, a suspended one, one whose deletion is done.

        Raises:
            Stale: the object has changed or gone meanwhile; its event makes one more turn.
            ClusterUnavailable: the API server failed; try again.
        """
        resource = self._store.get(key)
        if resource is None:
            self._refused.pop(key, None)
            return None
        known = resource.status
        try:
            turn = _Turn(resource, resource.spec, known, since)
        except ValidationError as error:
            if resource.deleting:
                await self._deletion.let_go(resource, "its spec cannot be read, so nothing may be removed")
                return None
            return await self._conclude(resource, known, Outcome(Reason.INVALID_REQUEST, _invalid_spec(error)))
        if resource.deleting:
            outcome = await self._deletion.delete(resource, turn.spec, known, since)
        elif turn.spec.suspend:
            await self._write(resource, known, suspended_status(known, resource.generation, self._wall()))
            outcome = None
        else:
            try:
                outcome = await self._access.with_credentials(
                    resource, turn.spec, since, lambda credentials: self._reconcile(turn, credentials)
                )
            except Failure as failure:
                outcome = Outcome.of(failure)
        return None if outcome is None else await self._conclude(turn.resource, known, outcome)

    async def _reconcile(self, turn: _Turn, credentials: Credentials) -> Outcome:
        """Look, decide and act on a live object.

        Raises:
            Failure: what Atlas or the cluster answered.
        """
        if self._is_refused(turn, credentials):
            return _as_it_is(turn.known)
        group_id = await self._access.group_id(turn.resource, turn.spec)
        project = self._atlas.project(credentials, group_id)
        try:
            outcome = await self._act(turn, project)
        except Failure as failure:
            if failure.reason is Reason.INVALID_REQUEST:
                self._refused[turn.resource.key] = (turn.resource.uid, credentials)
            raise
        invitation = outcome.invitation
        if invitation is not None and invitation.group_id is None:
            invitation = invitation.model_copy(update={"group_id": group_id})
        return replace(outcome, invitation=invitation, atlas=project.notice)

    def _is_refused(self, turn: _Turn, credentials: Credentials) -> bool:
        """Whether Atlas refused this very generation with these credentials, and nobody asks to try again.

        After a restart the first credentials read count as those that were refused.
        """
        resource, known = turn.resource, turn.known
        ready = known.condition(READY)
        latched = (
            ready is not None
            and ready.reason == Reason.INVALID_REQUEST
            and known.observed_generation == resource.generation
            and resource.reconcile_requested_at in {None, known.last_handled_reconcile_at}
        )
        if not latched:
            self._refused.pop(resource.key, None)
            return False
        uid, refused = self._refused.setdefault(resource.key, (resource.uid, credentials))
        return (uid, refused) == (resource.uid, credentials)

    async def _act(self, turn: _Turn, project: Project) -> Outcome:
        spec, known = turn.spec, turn.known
        if _roles_changed_on_known(turn, project):
            updated = await project.update_invite(known.invitation.id, sorted(spec.roles))  # type: ignore[union-attr]
            if updated is not None:
                return self._outcome(
                    decide(spec, known, Seen(invitations=(updated,)), self._atlas.now(), project.api), known
                )
        username = spec.username or (known.invitation.username if known.invitation else None)
        invitation_id = known.invitation.id if known.invitation else spec.invitation_id
        seen = await project.look(username=username, invitation_id=invitation_id, since=turn.since)
        if not turn.resource.has_finalizer:
            turn.resource = await self._invites.add_finalizer(turn.resource)
            self._store.put(turn.resource)
        action = decide(spec, known, seen, self._atlas.now(), project.api)
        return self._outcome(await self._perform(action, project), known)

    async def _perform(self, action: Action, project: Project) -> Action:
        """Do in Atlas what the action says and return the action with what Atlas answered."""
        case = action.case
        if action.row.do is Do.NOTHING:
            return action
        if case.sight is Sight.PENDING and case.invitation is not None:
            invitation = await set_invitation_roles(project, case.invitation, case.spec.roles)
            return replace(action, case=replace(case, invitation=invitation))
        if case.member is not None:
            member = await set_member_roles(project, case.member, case.spec.roles)
            return replace(action, case=replace(case, member=member))
        raise AssertionError(f"{action.row.do} of {case.sight}")

    @staticmethod
    def _outcome(action: Action, known: Status) -> Outcome:
        case, row = action.case, action.row
        invitation = None if row.reason is Reason.IDENTITY_MISMATCH else case.invitation
        is_new = invitation is not None and (known.invitation is None or known.invitation.id != invitation.id)
        return Outcome(
            row.reason,
            action.message,
            state=row.state,
            origin=Origin.ADOPTED if is_new else None,
            invitation=invitation,
            member=as_member(case.member) if case.member else None,
        )

    async def _conclude(self, resource: Resource, known: Status, outcome: Outcome) -> Outcome:
        evaluated = Evaluated(resource.generation, resource.reconcile_requested_at)
        wanted = next_status(known, evaluated, outcome, self._wall())
        await self._write(resource, known, wanted)
        return replace(outcome, requeue_after=requeue_after(outcome, wanted.invitation, self._atlas.now()))

    async def _write(self, resource: Resource, known: Status, wanted: Status) -> None:
        """Write the status, unless it is what is there."""
        if wanted == known:
            return
        patch = merge_patch(json.loads(resource.status_json), wanted.to_wire())
        self._store.put(await self._invites.write_status(resource, patch))


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


def _as_it_is(known: Status) -> Outcome:
    """Return the outcome that status shows already."""
    ready = known.condition(READY)
    return Outcome(Reason.INVALID_REQUEST, ready.message if ready else "", error=known.error)


def _invalid_spec(error: ValidationError) -> str:
    """Return what is wrong with a spec that the CRD should have refused: field and rule."""
    problems = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
    return f"The spec cannot be used: {problems}. Correct it, and bring the CRD up to date."


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) that turns ``old`` into ``new``: null for what must go."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        patch[key] = merge_patch(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return patch
