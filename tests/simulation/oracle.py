"""What must be true at rest, written from docs/behavior.md and from nothing of the operator's own decisions.

At rest, there are no faults, all events were delivered, and time has passed. Then the status of each object must follow
from its spec, its past (which status remembers) and the state of Atlas. The state of Atlas must be what the spec asks
for wherever the tables let the operator act.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from atlas_invites.failures import Failure
from atlas_invites.invitation.resource import Key, Resource
from atlas_sandbox import views
from atlas_sandbox.model import Membership
from tests.simulation.cluster import secret_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from atlas_invites.invitation.credentials import Credentials
    from atlas_invites.invitation.model import Invitation as Known
    from atlas_invites.invitation.model import Spec, Status
    from atlas_sandbox.model import Ended, Invitation, User
    from atlas_sandbox.project import Project
    from atlas_sandbox.sandbox import Sandbox
    from tests.simulation.cluster import Cluster
    from tests.simulation.safety import Safety

A_DAY = timedelta(days=1)
KINDS = {
    "Invited": "Settled",
    "Accepted": "Settled",
    "RolesDiffer": "Settled",
    "SecretNotFound": "Waiting",
    "SecretInvalid": "Waiting",
    "SecretNotAllowed": "Waiting",
    "ProjectNotReady": "Waiting",
}
"""The kinds of the reasons at rest. All other reasons are Stalled; an object with a Retrying reason is not at rest."""
CONDITIONS = {
    "Settled": {"Ready": "True"},
    "Waiting": {"Ready": "False", "Reconciling": "True"},
    "Stalled": {"Ready": "False", "Stalled": "True"},
}
SUSPENDED: tuple[dict[str, str], ...] = ({}, {"Ready": "True"}, {"Ready": "False", "Stalled": "True"})
"""The conditions of a suspended object."""
DEPARTURES = frozenset({"InvitationExpired", "InvitationWithdrawn", "MemberRemoved"})
REFUSED = frozenset({"InvalidRequest", "Forbidden", "ProjectNotFound"})
"""The reasons of a refusal: that of a write stays until something changes, that of a read ends with the next resync."""
HANDLES_RESEND = frozenset(
    {"Invited", "Accepted", "RolesDiffer", "InvitationExpired", "InvitationWithdrawn", "MemberRemoved"}
)
"""The reasons with which a requested resend must have been handled."""
RETRYING = frozenset({"RateLimited", "AtlasUnavailable", "Conflict", "ConfirmingInvitation"})


class BrokenError(AssertionError):
    """An object is not in the state that the oracle expects."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A reason, and a state (None: unchanged)."""

    reason: str
    state: str | None = None


@dataclass(slots=True)
class Oracle:
    """Judge a rest.

    Attributes:
        users_mode: whether the Invites API is no longer in use.
        accepted_keys: the credentials that Atlas accepts.
        safety: the record of the requests.
    """

    cluster: Cluster
    sandbox: Sandbox
    users_mode: bool
    accepted_keys: frozenset[Credentials]
    safety: Safety

    def problems(self) -> Iterator[str]:
        """Yield a text for each object that is not as it must be."""
        for key in self.cluster.objects:
            resource = Resource.from_body(self.cluster.objects[key])
            try:
                self.decision_of(resource)
            except BrokenError as broken:
                yield f"{key}: {broken}"

    def withheld(self) -> Iterator[Key]:
        """Yield every object that waits for a request to reconcile, because Atlas refused its last write.

        Raises:
            BrokenError: no write was refused, or Atlas already has what the object asks for.
        """
        for key in self.cluster.objects:
            resource = Resource.from_body(self.cluster.objects[key])
            ready = resource.status.condition("Ready")
            if resource.spec.suspend or ready is None or ready.reason not in REFUSED:
                continue
            group = self._group(resource)
            secret = self.cluster.secrets.get(secret_of(resource))
            if group is not None and secret in self.accepted_keys and not any(self._rivals(resource, group)):
                names = _names_in_calls(resource)
                names |= self._ids_of(_email(resource.spec, resource.status), group)
                _expect(
                    any((group, name) in self.safety.withheld for name in names),
                    f"{key}: its reason is {ready.reason}, although no write was refused",
                )
                _expect(
                    not self._is_there(resource, group), f"{key}: its reason is {ready.reason}, and it does not adopt"
                )
            yield key

    def decision_of(self, resource: Resource) -> None:
        """Judge one object.

        Raises:
            BrokenError: it is not as it must be.
        """
        spec, status = resource.spec, resource.status
        _expect(not resource.deleting, "law 8: a deletion did not end")
        _expect(status.observed_generation == resource.generation, "law 4: this generation was not evaluated")
        generations = {c.observed_generation for c in status.conditions}
        _expect(generations == {resource.generation}, f"law 4: its conditions are of the generations {generations}")
        summary = set((status.roles_summary or "").split(","))
        _expect(summary == set(spec.roles), f"law 4: rolesSummary is {summary}, and the spec asks for {spec.roles}")
        suspended = status.condition("Suspended")
        if spec.suspend:
            _expect(suspended is not None and suspended.status == "True", "it is suspended, without the condition")
            shown = {c.type: c.status for c in status.conditions if c.type in {"Ready", "Reconciling", "Stalled"}}
            _expect(shown in SUSPENDED, f"it is suspended, and in progress: {shown}")
            return
        _expect(suspended is None, "it has the condition Suspended, and is not suspended")
        ready = status.condition("Ready")
        if ready is None:
            raise BrokenError("it has no condition Ready")
        _expect(ready.reason not in RETRYING, f"law 6: it is not at rest: {ready.reason}")
        said, allowed = Expected(ready.reason, str(status.state) if status.state else None), []
        for expected in self._expected(resource, spec, status):
            allowed.append(expected)
            if said.reason == expected.reason and expected.state in {None, said.state}:
                break
        else:
            raise BrokenError(f"its status is {said}, and must be one of {allowed}")
        unhandled = said.reason in HANDLES_RESEND and resource.asks_to_resend(status)
        _expect(not unhandled, f"its reason is {said.reason}, and a requested resend was not handled")
        kind = KINDS.get(ready.reason, "Stalled")
        if ready.reason in DEPARTURES and spec.departure_policy == "Settle":
            kind = "Settled"
        _expect(kind != "Settled" or resource.has_finalizer, "it is settled, without our finalizer")
        wanted = CONDITIONS[kind]
        there = {c.type: c.status for c in status.conditions if c.type in {"Ready", "Reconciling", "Stalled"}}
        _expect(there == wanted, f"its conditions are {there}, and must be {wanted}")
        accepted = status.condition("Accepted")
        is_accepted = "True" if status.state == "Accepted" else "False"
        _expect(accepted is not None and accepted.status == is_accepted, "its condition Accepted does not follow")

    def _expected(self, resource: Resource, spec: Spec, status: Status) -> Iterator[Expected]:
        group = self._group(resource)
        if group is None:
            yield Expected("ProjectNotReady")
            return
        secret = self.cluster.secrets.get(secret_of(resource))
        if secret is None:
            yield Expected("SecretNotFound")
            return
        if isinstance(secret, Failure):
            yield Expected(str(secret.reason))
            return
        rejected = secret not in self.accepted_keys
        rivals = (other for other in self._rivals(resource, group) if not _has_another(resource, other))
        older = [other for other in rivals if _age(other) < _age(resource)]
        if any(_age(other) < _age(resource) for other in self._rivals(resource, group, also_ended=True)):
            yield Expected("DuplicateInvite")
        if rejected:
            yield Expected("CredentialsRejected")
        elif not any(self._is_proven(other) for other in older):  # else: the older one's claim is proven
            yield from self._table_a(spec, status, self.sandbox.state.project(group))

    def _table_a(self, spec: Spec, status: Status, project: Project) -> Iterator[Expected]:
        known, roles = status.invitation, set(spec.roles)
        ids = _ids(spec, status)
        email = _email(spec, status)
        user = project.users.of(email) if email else next((u for u in map(project.users.get, ids) if u), None)
        active = user if user is not None and user.status is Membership.ACTIVE else None
        if (member_id := _member_id(status)) is not None:
            member = project.users.get(member_id)
            if member is not None and member.status is Membership.ACTIVE:
                yield from self._of_member(spec, status, member)
                return
            if active is not None:
                yield Expected("IdentityMismatch")
                return
        pending = self._pending(spec, project, ids, email)
        own = {known.id} if known is not None and status.origin == "Created" else set()
        others = [p for p in pending if spec.username and p.username.lower() != email and p.id not in own]
        if active is not None:
            yield from self._of_member(spec, status, active)
        elif pending:
            if others:
                yield Expected("IdentityMismatch")
            for one in pending:
                if known is not None and known.id == one.id and one not in others:
                    differs = set(one.roles) != roles
                    kept = self._was_kept(one)
                    _expect(kept or not differs, f"law 6: the roles are {one.roles}, and must be {sorted(roles)}")
                    _expect(_same(known, one, project), f"law 4: status shows {known}, and Atlas {one}")
                    if differs:
                        self._expect_both_sets(status, roles ^ set(one.roles))
                    yield Expected("RolesDiffer" if differs else "Invited", "Pending")
        else:
            yield from self._of_nobody(spec, status, user)

    def _pending(self, spec: Spec, project: Project, ids: set[str], email: str) -> list[Invitation | User]:
        """Return every pending invitation that the spec may mean."""
        invitations = [] if self.users_mode else project.invitations.all()
        users = [u for u in project.users.all() if u.status is Membership.PENDING]
        found: list[Invitation | User] = [*invitations, *users]
        by_email = email if spec.username else None
        return [p for p in found if p.id in ids or p.username.lower() == by_email]

    def _of_member(self, spec: Spec, status: Status, user: User) -> Iterator[Expected]:
        member, differing = status.member, set(user.roles) ^ set(spec.roles)
        shown = member is not None and (member.id, set(member.roles)) == (user.id, set(user.roles))
        _expect(shown, f"law 4: status shows the member {member}, and Atlas {user}")
        said = member.to_wire().get("username") if member is not None else None
        _expect(said == user.username, f"law 4: status shows the member's e-mail {said}, and Atlas {user}")
        if not differing:
            yield Expected("Accepted", "Accepted")
        elif spec.member_policy == "Observe" or self._was_kept(user):
            self._expect_both_sets(status, differing)
            yield Expected("RolesDiffer", "Accepted")

    def _was_kept(self, there: Invitation | User) -> bool:
        """Return whether Atlas stored exactly these roles for the last write, so that it is not repeated."""
        groups = self.sandbox.state.projects
        return any(self.safety.kept.get((group, there.id)) == frozenset(there.roles) for group in groups)

    @staticmethod
    def _expect_both_sets(status: Status, differing: set[str]) -> None:
        ready = status.condition("Ready")
        unsaid = [role for role in differing if ready is not None and role not in ready.message]
        said_if_so = ready is None or ready.reason != "RolesDiffer" or not unsaid
        _expect(said_if_so, f"law 4: the message does not name {unsaid}: {ready and ready.message}")

    def _is_there(self, resource: Resource, group: str) -> bool:
        """Return whether Atlas has what an object asks for, with its roles, so that it only has to be adopted."""
        spec, status, project = resource.spec, resource.status, self.sandbox.state.project(group)
        email, member_id = _email(spec, status), _member_id(status)
        user = project.users.get(member_id) if member_id else project.users.of(email)
        if user is not None and user.status is Membership.ACTIVE:
            return set(user.roles) == set(spec.roles)
        there = self._pending(spec, project, _ids(spec, status), email)
        return any(set(p.roles) == set(spec.roles) and p.username.lower() == email for p in there)

    def _of_nobody(self, spec: Spec, status: Status, user: User | None) -> Iterator[Expected]:
        known, now = status.invitation, self.sandbox.clock()
        seen = user.status if user else None
        if user and known and user.id not in {known.id, spec.invitation_id} and known.expires and now < known.expires:
            seen = None  # the entry is of another invitation, while this one may be pending
        if self.users_mode and status.atlas is not None and status.atlas.api == "Invites":
            yield Expected("LegacyInvitation")  # there may be an unconfirmed send through the Invites API
        if status.member is not None or status.state in {"Accepted", "Removed"}:
            yield Expected("MemberRemoved", "Removed")
        elif status.state == "Withdrawn":
            yield Expected("InvitationWithdrawn", "Withdrawn")
        elif known is not None:
            yield from self._of_ended(spec, known, seen, now)
        elif spec.invitation_id is not None or status.origin == "Adopted":
            yield Expected("InvitationNotFound", "Unknown")

    def _of_ended(self, spec: Spec, known: Known, seen: Membership | None, now: datetime) -> Iterator[Expected]:
        expires, created = known.expires, known.created
        if expires is None or created is None:
            raise BrokenError(f"status has lost the times of {known}")
        if seen is None and now < expires and self.users_mode and known.api == "Invites":
            if set(known.roles) == set(spec.roles):
                yield Expected("Invited", "Pending")
            else:
                yield Expected("LegacyInvitation", "Pending")
        elif seen is Membership.INVITATION_REJECTED or (seen is None and now < expires):
            yield Expected("InvitationWithdrawn", "Withdrawn")
        elif spec.reinvite_policy == "Never" or spec.invitation_id is not None or now < created + A_DAY:
            yield Expected("InvitationExpired", "Expired")

    def _rivals(self, resource: Resource, group: str, *, also_ended: bool = False) -> Iterator[Resource]:
        """Yield every other object with the same name in Atlas; with ``also_ended``, also by an ended invitation."""
        mine = self._names(resource, group, also_ended=also_ended)
        for key in self.cluster.objects:
            other = Resource.from_body(self.cluster.objects[key])
            if other.key != resource.key and self._names(other, self._group(other), also_ended=also_ended) & mine:
                yield other

    def _is_proven(self, resource: Resource) -> bool:
        """Return whether the operator must know that the object's own credentials have read its project."""
        status, spec = resource.status, resource.spec
        if status.invitation is not None or status.member is not None:
            return True
        secret = self.cluster.secrets.get(secret_of(resource))
        return not spec.suspend and self._group(resource) is not None and secret in self.accepted_keys

    def _names(self, resource: Resource, group: str | None, *, also_ended: bool) -> set[str]:
        spec, known, member = resource.spec, resource.status.invitation, resource.status.member
        groups = {group, known.group_id if known else None} - {None}
        names = {n.lower() for n in (spec.username, spec.invitation_id) if n}
        names |= {member.id} if member is not None and also_ended else set()
        names |= {n.lower() for n in ((known.username, known.id) if known else ()) if n}
        return {f"{g}/{n}" for g in groups if g for n in names | self._found(g, names, also_ended=also_ended)}

    def _found(self, group: str, names: set[str], *, also_ended: bool) -> set[str]:
        """Return the e-mails of the entries with an object's ids."""
        project = self.sandbox.state.project(group)
        live = {Membership.ACTIVE, Membership.PENDING}
        entries: list[Invitation | User | Ended] = [u for u in project.users.all() if also_ended or u.status in live]
        if not self.users_mode:
            entries += project.invitations.all()
        if also_ended:
            entries += project.ended
        found = {entry.username.lower() for entry in entries if entry.id in names}
        former = self.safety.former_emails if also_ended else {}
        return found.union(*(former.get(name, ()) for name in names))

    def _ids_of(self, email: str, group: str) -> set[str]:
        """Return the ids that an e-mail has or had in a project: the refused write may have named one of them."""
        project = self.sandbox.state.project(group)
        there: list[Invitation | User | Ended] = [*project.invitations.all(), *project.users.all(), *project.ended]
        return {entry.id for entry in there if entry.username.lower() == email}

    def _group(self, resource: Resource) -> str | None:
        spec = resource.spec
        if spec.project_ref is None:
            return spec.group_id
        return self.cluster.project_ids.get(Key(resource.key.namespace, spec.project_ref.name))


def _ids(spec: Spec, status: Status) -> set[str]:
    known = status.invitation
    return {id_ for id_ in (spec.invitation_id, known.id if known else None) if id_}


def _email(spec: Spec, status: Status) -> str:
    """Return the e-mail of an object in lower case: that of the spec, else that of status."""
    known = status.invitation
    return (spec.username or (known.username if known else None) or "").lower()


def _member_id(status: Status) -> str | None:
    """Return the id of the member that an object knows: it takes precedence over the e-mail."""
    return status.member.id if status.member is not None and status.state in {"Accepted", "Removed"} else None


def _names_in_calls(resource: Resource) -> set[str]:
    """Return the e-mails and ids that the writes for an object can name."""
    member = resource.status.member
    names = {_email(resource.spec, resource.status), *_ids(resource.spec, resource.status)}
    return names | ({member.id} if member is not None else set())


def _has_another(resource: Resource, other: Resource) -> bool:
    """Return whether an object shows an invitation that another object does not name, even if the e-mail is the same.

    A person can have two invitations, one in each API.
    """
    mine, others = ({_email(r.spec, r.status), *_ids(r.spec, r.status)} for r in (resource, other))
    return resource.status.invitation is not None and mine.isdisjoint(others)


def _age(resource: Resource) -> tuple[str, str]:
    return resource.created_at, resource.uid


def _same(known: Known, there: Invitation | User, project: Project) -> bool:
    """Return whether status shows an invitation as Atlas does."""
    if known.api == "Invites":
        shown = views.invitation(project, there)  # type: ignore[arg-type]
    else:
        user = views.user(there)  # type: ignore[arg-type]
        shown = {"id": user["id"], "username": user["username"], "inviterUsername": user["inviterUsername"]}
        shown |= {"createdAt": user["invitationCreatedAt"], "expiresAt": user["invitationExpiresAt"]}
        shown |= {"roles": user["roles"], "groupId": project.id}
    said = known.to_wire()
    return all(set(said["roles"]) == set(v) if k == "roles" else said.get(k) == v for k, v in shown.items())  # type: ignore[call-overload]


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition
    if not holds:
        raise BrokenError(what)
