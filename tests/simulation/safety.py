"""The laws that hold at every step: what the operator may send, change and remove, judged by what it knew.

Each request of the operator is judged when it leaves the operator. The laws are about the operator's knowledge, not
about the truth: an edit whose event has not arrived, and an acceptance during a removal, break no law.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from atlas_invites.invitation.resource import Key, Resource
from atlas_sandbox.model import Membership
from tests.simulation.cluster import START, secret_of
from tests.simulation.process import DELETION_GRACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.invitation.model import Spec, Status
    from atlas_sandbox.model import Invitation, User
    from atlas_sandbox.sandbox import Sandbox
    from tests.simulation.cluster import Cluster
    from tests.simulation.network import Exchange

MINUTE = 60.0
KNEW = 120.0
"""The seconds for which the operator may still act on a replaced version: one reconcile, with its time-outs."""
PROVEN = 90.0
"""The seconds after which the operator must respect the claim of an object whose status shows its invitation."""
A_DAY = timedelta(days=1)
REFUSED, SECRET_LOST = 590.0, 59.0
"""The least seconds for which a deletion is tried, if Atlas refuses, and if the Secret is missing or invalid."""
GRACE = DELETION_GRACE - 1.0
"""The least seconds that a deletion waits before it removes anything: deletion times are whole seconds."""
TOLD_WITHIN = 5.0
"""The seconds within which an event must name what may be left in Atlas."""
SENDS = frozenset({"CreateInvite", "AddUser"})
LISTS = frozenset({"ListInvites", "ListUsers"})
ROLES = frozenset({"AddRole", "RemoveRole"})
ROLE_WRITES = SENDS | ROLES | {"UpdateInvite"}
WRITES = ROLE_WRITES | {"CancelInvite", "RemoveUser"}
ACCEPTED = frozenset({"Accepted", "Removed"})
LATCHED = frozenset({"Accepted", "Removed", "Withdrawn"})


@dataclass(slots=True)
class Told:
    """A version of an object that the operator took for the latest one from ``since`` on."""

    since: float
    resource: Resource


@dataclass(slots=True)
class Safety:
    """Judge every request.

    Attributes:
        broken: a text for each broken law.
        ours: the ids of the operator's credentials.
    """

    cluster: Cluster
    sandbox: Sandbox
    ours: frozenset[str]
    broken: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    history: dict[Key, list[Told]] = field(default_factory=lambda: defaultdict(list))
    shown: dict[str, float] = field(default_factory=dict)
    """The time since when the status of an object, by uid, shows an invitation or a member, or DuplicateInvite."""
    unanswered: dict[tuple[str, str], float] = field(default_factory=dict)
    """The time of the last unconfirmed send, by project and e-mail."""
    looked: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(lambda: float("-inf")))
    """The start of the latest successful list, by project and operation."""
    read: dict[tuple[str, str], tuple[float, User | None]] = field(default_factory=dict)
    """The time and the result of the last read of a user."""
    sent: set[str] = field(default_factory=set)
    """The ids of the invitations that the operator sent."""
    sent_to: dict[tuple[str, str], str] = field(default_factory=dict)
    """The e-mail of a send, by project and the id in its response; the entry may never have been pending."""
    remembered: set[str] = field(default_factory=set)
    """The ids of the invitations that a status has shown."""
    started: float = 0.0
    """The start of the running process."""
    kept: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    """The roles that Atlas stored instead of those of the operator's last write, by project and id."""
    withheld: set[tuple[str, str]] = field(default_factory=set)
    """The projects and e-mails (or ids) for which Atlas refused the last write."""
    unauthorized: set[str] = field(default_factory=set)
    """The projects with a 401 that asks for no other credentials; the empty text stands for the token endpoint."""
    rejected: set[Key] = field(default_factory=set)
    """The Secrets that ever held credentials which Atlas does not know."""
    former_emails: dict[str, set[str]] = field(default_factory=dict)
    """The former e-mails of members, by id: the operator may have claimed one of them with the id."""
    projects_gone: dict[str, float] = field(default_factory=dict)
    """The time of the last read of a project that said that the project does not exist."""
    unclear: set[tuple[str, str]] = field(default_factory=set)
    """The projects and operations whose last successful list has an entry with an unreadable id or e-mail."""
    asked_for: dict[tuple[str, str, str], float] = field(default_factory=dict)
    """The start of the latest successful list of one e-mail, by project, operation and e-mail."""
    left_behind: dict[str, float] = field(default_factory=dict)
    """The time when an object, by uid, was finalized although its invitation is still pending."""
    resent: set[tuple[str, str]] = field(default_factory=set)
    """The requests to resend, by uid and value, for which a pending invitation was canceled."""
    _before: dict[int, object] = field(default_factory=dict)

    def told(self, resource: Resource) -> None:
        """Record what the operator was told, and check that it never returns to an older version (law 7)."""
        versions = self.history[resource.key]
        if versions and versions[-1].resource.uid == resource.uid and versions[-1].resource.newer_than(resource):
            self.broken.append(f"law 7: {resource.key} returned to an older version")
        self.history[resource.key].append(Told(self.cluster.time(), resource))
        status = resource.status
        if status.invitation is not None:
            if status.invitation.id not in self.remembered:
                # Atlas has shown the invitation, so the result of an unconfirmed send is known.
                self.unanswered.pop((status.invitation.group_id or "", _email(resource)), None)
            self.remembered.add(status.invitation.id)
        ready = status.condition("Ready")
        waits = ready is not None and ready.reason == "DuplicateInvite"
        if status.invitation is not None or status.member is not None or waits:
            self.shown.setdefault(resource.uid, self.cluster.time())
        if ready is not None and ready.reason == "CredentialsRejected":
            self._judge_rejection(resource)

    def before(self, exchange: Exchange) -> None:
        """Judge a request when it leaves the operator."""
        self.exchanges.append(exchange)
        match exchange.operation:
            case "CreateInvite" | "AddUser":
                self._judge_send(exchange)
            case "CancelInvite":
                self._judge_cancellation(exchange)
            case "RemoveUser":
                self._judge_removal(exchange)
            case "UpdateInvite":
                email = self._email_of(exchange)
                if not any(self._live_claims(exchange, email)):
                    self._break(exchange, "no live object asks for these roles")
            case "AddRole" | "RemoveRole":
                self._judge_role(exchange)
            case _:
                pass

    def arriving(self, exchange: Exchange) -> None:
        """Judge a request when it reaches Atlas (law 1), and record what a read will show."""
        if exchange.operation in SENDS and self._sent_live(exchange):
            self._break(exchange, "law 1: an invitation that the operator sent is still pending")
        if exchange.operation in {"CancelInvite", "RemoveUser"} and self._is_pending(exchange):
            self._judge_resend(exchange)
        if exchange.operation == "ReadUser":
            user = self.sandbox.state.project(exchange.group_id).users.get(exchange.record_id)
            self.read[exchange.group_id, exchange.record_id] = (self.cluster.time(), user)
        if exchange.operation in ROLE_WRITES:
            self._before[exchange.number] = self._record(exchange)

    def done(self, exchange: Exchange) -> None:
        """Record which roles Atlas stored for a write, even if the response is lost."""
        if exchange.operation in ROLE_WRITES:
            before, record, rules = self._before.pop(exchange.number), self._record(exchange), self.sandbox.state.rules
            if record is not None and record is not before:
                self.kept.pop((exchange.group_id, record.id), None)
                if rules.dropped_roles or rules.added_roles:
                    self.kept[exchange.group_id, record.id] = frozenset(record.roles)

    def after(self, exchange: Exchange) -> None:
        """Record the result of a request."""
        now = self.cluster.time()
        if project := self.sandbox.state.projects.get(exchange.group_id):
            self.sent |= {i.id for i in project.invitations.all() if i.inviter in self.ours}
            self.sent |= {u.id for u in project.users.all() if u.inviter in self.ours}
        if exchange.operation in SENDS and exchange.shown_id:
            self.sent.add(exchange.shown_id)  # it may have been accepted at once
            self.sent_to[exchange.group_id, exchange.shown_id] = exchange.username
        if exchange.operation in SENDS and not exchange.answered and not exchange.refused:
            self.unanswered[exchange.group_id, exchange.username] = now
        if exchange.operation in LISTS and exchange.status == 200:
            self._note_list(exchange)
        if exchange.operation in WRITES and exchange.answered:
            about = exchange.group_id, exchange.record_id or exchange.username
            (self.withheld.add if exchange.status >= 400 else self.withheld.discard)(about)
        if exchange.status == 401 and not exchange.challenged:
            self.unauthorized.add(exchange.group_id)
        if exchange.operation == "Token" and exchange.status >= 400:
            self.unauthorized.add("")
        if exchange.operation == "ReadProject" and exchange.code == "GROUP_NOT_FOUND":
            self.projects_gone[exchange.group_id] = now

    def finalized(self, resource: Resource) -> None:
        """Judge the removal of the finalizer while the invitation that the object sent is still pending (law 8)."""
        status, spec = resource.status, resource.spec
        known, ready = status.invitation, status.condition("Ready")
        if known is None or known.group_id is None or (status.state, status.origin) != ("Pending", "Created"):
            return
        policy, reason = spec.deletion_policy or "Cancel", ready.reason if ready else None
        project = self.sandbox.state.projects.get(known.group_id)
        is_pending = project is not None and (known.id in _pending_ids(project.invitations.all(), project.users.all()))
        if spec.suspend or policy == "Retain" or reason == "DuplicateInvite" or known.id not in self.sent:
            return
        if not is_pending or self._has_namesake(resource, known.group_id, known.id):
            return
        if not self.cluster.trouble.lost:
            self.left_behind[resource.uid] = self.cluster.time()
        if not resource.force_delete and not self._may_leave_behind(resource, known.group_id):
            self.broken.append(f"law 8: {resource.key} was finalized too early, and left its invitation {known.id}")

    def check_told(self) -> None:
        """Check that an event reports each invitation that was left, unless the process ended meanwhile."""
        due = self.cluster.time() - TOLD_WITHIN
        for uid, at in list(self.left_behind.items()):
            if uid in self.cluster.warned or at < self.started:
                del self.left_behind[uid]
            elif at < due:
                self.broken.append(f"law 8: the object {uid} left its invitation, and no event reports it")

    # The judgements.

    def _judge_send(self, exchange: Exchange) -> None:
        group, email = exchange.group_id, exchange.username
        named = [r for r in self._objects() if self._asks_for(r, group, email)]
        recently = self.cluster.time() - KNEW
        if not any(r.has_finalizer or self.cluster.stripped.get(r.uid, float("-inf")) > recently for r in named):
            self._break(exchange, "law 2: no object with our finalizer asks for it")
        since = self.unanswered.get((group, email))
        look = "ListInvites" if exchange.operation == "CreateInvite" else "ListUsers"
        is_early = since is not None and self.looked[group, look] < since + MINUTE
        if since is not None and is_early and self._is_told_of_a_send(group, email, since):
            self._break(exchange, "law 3: there was an unconfirmed send less than a minute before the last list")
        asked_for = self.asked_for.get((group, look, email), float("-inf"))
        if (group, look) in self.unclear and asked_for < exchange.began - MINUTE:
            self._break(exchange, "a list had an unreadable entry, and the operator did not ask for the e-mail itself")
        if not any(self._may_send(r) for r in named):
            self._break(
                exchange, "no object may send it: accepted, withdrawn, claimed by an older one, or not requested"
            )

    def _judge_cancellation(self, exchange: Exchange) -> None:
        email = self._email_of(exchange)
        self._judge_end(exchange, email, {"Cancel", "Revoke"})

    def _judge_removal(self, exchange: Exchange) -> None:
        group, id_ = exchange.group_id, exchange.record_id
        read_at, seen = self.read.get((group, id_), (float("-inf"), None))
        if seen is None or read_at < self.cluster.time() - MINUTE:
            self._break(exchange, "the user was not read right before")
        is_pending = seen is not None and seen.status is Membership.PENDING
        allowed = {"Cancel", "Revoke"} if is_pending else {"Revoke"}
        self._judge_end(exchange, self._email_of(exchange), allowed)

    def _judge_end(self, exchange: Exchange, email: str, allowed: set[str]) -> None:
        """Judge law 8: only a deleted object whose policy allows it cancels or removes, and only if it has no heir.

        A live object cancels a pending invitation once for each requested resend.
        """
        if "Cancel" in allowed and any(self._resenders(exchange, email)):
            return
        enders = [told for told in self._told() if self._may_end(exchange, told, email, allowed)]
        if not enders:
            self._break(exchange, "law 8: no deletion policy asks for it")
        elif not any(ender.force_delete or self.cluster.time() - self._deleted(ender) >= GRACE for ender in enders):
            self._break(exchange, "law 8: a deletion has not waited for its grace")
        elif all(self._heir(exchange, ender, email) for ender in enders):
            self._break(exchange, "law 8: another live object has it")

    def _judge_resend(self, exchange: Exchange) -> None:
        """Judge law 1: one request to resend cancels one invitation."""
        email = self._email_of(exchange)
        if any(self._may_end(exchange, told, email, {"Cancel", "Revoke"}) for told in self._told()):
            return
        resenders = set(self._resenders(exchange, email))
        if resenders and resenders <= self.resent:
            self._break(exchange, "law 1: a second invitation is canceled for one request to resend")
        self.resent |= resenders

    def _is_pending(self, exchange: Exchange) -> bool:
        project = self.sandbox.state.projects.get(exchange.group_id)
        return project is not None and exchange.record_id in _pending_ids(
            project.invitations.all(), project.users.all()
        )

    def _resenders(self, exchange: Exchange, email: str) -> Iterator[tuple[str, str]]:
        """Yield the uid and the value of every unhandled request to resend whose object names the invitation."""
        for resource in self._told():
            value, spec = resource.resend_requested_at, resource.spec
            if resource.deleting or spec.suspend or spec.username is None or spec.invitation_id is not None:
                continue
            if value is None or not resource.asks_to_resend(resource.status):
                continue
            if self._names(resource, exchange.group_id, exchange.record_id, email):
                yield resource.uid, value

    def _heir(self, exchange: Exchange, ender: Resource, email: str) -> bool:
        """Return whether another live object had shown its claim when this one was deleted, or long ago."""
        known_until = max(self.cluster.time() - PROVEN, self._deleted(ender))
        return any(
            self.shown.get(other.uid, known_until) < known_until
            and not other.deleting
            and self._names(other, exchange.group_id, exchange.record_id, email)
            for other in self._objects()
        )

    def _deleted(self, resource: Resource) -> float:
        """Return the time when an object was deleted, or now if it was not."""
        return ((resource.deleted_at or self.cluster.now()) - START).total_seconds()

    def _judge_role(self, exchange: Exchange) -> None:
        _, seen = self.read.get((exchange.group_id, exchange.record_id), (0.0, None))
        email = self._email_of(exchange)
        claims = list(self._live_claims(exchange, email))
        is_member = seen is not None and seen.status is Membership.ACTIVE
        if is_member and not any(r.spec.member_policy == "Manage" for r in claims):
            self._break(exchange, "no object manages this member")
        if not claims:
            self._break(exchange, "no live object asks for these roles")

    def _judge_rejection(self, resource: Resource) -> None:
        """Judge a rejection: a 401 counts only for its project, unless Atlas does not know the credentials."""
        secret = secret_of(resource)
        groups = {"", self._group(resource.key, resource.spec)}
        if secret not in self.rejected and groups.isdisjoint(self.unauthorized):
            self.broken.append(f"{resource.key}: CredentialsRejected, although only another project was refused")

    def _may_leave_behind(self, resource: Resource, group: str) -> bool:
        """Return whether this process has tried a deletion for long enough since its first refusal.

        The first try may share a refusal of the last minute.
        """
        now = self.cluster.time()
        since = max(self.started, self._deleted(resource))
        if self.projects_gone.get(group, float("-inf")) >= since:
            return True
        secret = secret_of(resource)
        first, last = self.cluster.failing.get(secret, (now, float("-inf")))
        if last > now - PROVEN and now - max(first, since) >= SECRET_LOST:
            return True
        recent = (e for e in self.exchanges if e.group_id == group and e.began >= since - MINUTE and _refuses(e))
        refusals = (max(e.began, since) for e in recent)
        is_legacy = resource.status.invitation is not None and resource.status.invitation.api == "Invites"
        first = next(refusals, since if is_legacy and self.sandbox.sunset.gone(self.sandbox.clock()) else now)
        return now - first >= REFUSED

    def _has_namesake(self, resource: Resource, group: str, record_id: str) -> bool:
        """Return whether another object names the same invitation."""
        email = _email(resource)
        return any(
            other.key != resource.key and self._names(other, group, record_id, email) for other in self._objects()
        )

    # The knowledge of the operator.

    def _note_list(self, exchange: Exchange) -> None:
        group, operation = exchange.group_id, exchange.operation
        if exchange.filter:
            known = self.asked_for.get((group, operation, exchange.filter), float("-inf"))
            self.asked_for[group, operation, exchange.filter] = max(known, exchange.began)
            return
        self.looked[group, operation] = max(self.looked[group, operation], exchange.began)
        (self.unclear.add if exchange.unclear else self.unclear.discard)((group, operation))

    def _member_id(self, resource: Resource) -> str | None:
        """Return the id of the member that an object knows, by the latest version that the operator was told."""
        versions = self.history[resource.key]
        latest = versions[-1].resource if versions and versions[-1].resource.uid == resource.uid else resource
        status = latest.status
        return status.member.id if status.member is not None and status.state in ACCEPTED else None

    def _told(self) -> Iterator[Resource]:
        """Yield every version that the operator has, or had a moment ago."""
        now = self.cluster.time()
        for versions in self.history.values():
            until = [told.since for told in versions[1:]] + [now]
            yield from (t.resource for t, end in zip(versions, until, strict=True) if end >= now - KNEW)

    def _objects(self) -> Iterator[Resource]:
        """Yield every object in the API server."""
        for key in self.cluster.objects:
            yield Resource.from_body(self.cluster.objects[key])

    def _is_told_of_a_send(self, group: str, email: str, at: float) -> bool:
        """Return whether this process can know of an unconfirmed send: its own, or one that an object indicates.

        An object with a finalizer from an earlier process indicates it, unless it took over or is a duplicate.
        """
        if at >= self.started:
            return True
        for versions in self.history.values():
            first = {t.resource.uid: t.resource for t in reversed(versions) if t.since >= self.started}
            if any(
                r.has_finalizer and r.status.origin != "Adopted" and self._asks_for(r, group, email)
                for r in first.values()
            ):
                return True
        return False

    def _may_send(self, resource: Resource) -> bool:
        """Return whether Table A lets this object send, by its status and by what the operator was told."""
        status = resource.status
        invitation, now = status.invitation, self.sandbox.clock() + timedelta(seconds=2)
        if status.state in LATCHED or status.member is not None or resource.spec.invitation_id is not None:
            return False
        versions = [t for t in self._told() if t.uid == resource.uid and not t.deleting and not t.spec.suspend]
        if not versions or self._older(resource):
            return False
        if invitation is None:
            return True
        expires, created = invitation.expires, invitation.created
        again = any(t.spec.reinvite_policy == "OnExpiry" for t in versions)
        ended = (expires is not None and expires <= now) or invitation.api == "Users"
        return again and ended and created is not None and created + A_DAY <= now

    def _older(self, resource: Resource) -> bool:
        """Return whether an older object has shown for long enough that it has the invitation."""
        group, email = self._group(resource.key, resource.spec), (resource.spec.username or "").lower()
        return any(
            (other.created_at, other.uid) < (resource.created_at, resource.uid)
            and self.shown.get(other.uid, float("inf")) < self.cluster.time() - PROVEN
            and self._group(other.key, other.spec) == group
            and _email(other) == email
            for other in self._objects()
        )

    def _asks_for(self, resource: Resource, group: str, email: str) -> bool:
        spec = resource.spec
        return self._group(resource.key, spec) == group and (spec.username or "").lower() == email

    def _live_claims(self, exchange: Exchange, email: str) -> Iterator[Resource]:
        for resource in self._told():
            names = self._names(resource, exchange.group_id, exchange.record_id, email)
            if names and not resource.deleting and not resource.spec.suspend:
                yield resource

    def _may_end(self, exchange: Exchange, resource: Resource, email: str, allowed: set[str]) -> bool:
        names = self._names(resource, exchange.group_id, exchange.record_id, email)
        if not resource.deleting or resource.spec.suspend or not names:
            return False
        policy = resource.spec.deletion_policy
        if policy is None:
            return "Cancel" in allowed and (resource.status.origin == "Created" or exchange.record_id in self.sent)
        return policy in allowed

    def _names(self, resource: Resource, group: str, record_id: str, email: str) -> bool:
        """Return whether an object names an invitation or a user: a known member only by id, others by id or e-mail."""
        status, member_id = resource.status, self._member_id(resource)
        groups = {self._group(resource.key, resource.spec), status.invitation.group_id if status.invitation else None}
        user = self.sandbox.state.project(group).users.get(record_id)
        if group not in groups:
            return False
        if member_id is not None and user is not None and user.status is Membership.ACTIVE:
            return user.id == member_id
        ids = {resource.spec.invitation_id, status.invitation.id if status.invitation else None, member_id}
        return record_id in ids or (bool(email) and _email(resource) == email)

    def _group(self, key: Key, spec: Spec) -> str | None:
        if spec.project_ref is None:
            return spec.group_id
        return self.cluster.project_ids.get(Key(key.namespace, spec.project_ref.name))

    # The state of Atlas.

    def _record(self, exchange: Exchange) -> Invitation | User | None:
        """Return the invitation or user whose roles a request writes."""
        project = self.sandbox.state.projects.get(exchange.group_id)
        if project is None:
            return None
        if exchange.record_id:
            return project.invitations.get(exchange.record_id) or project.users.get(exchange.record_id)
        invited = project.invitations.of(exchange.username) if exchange.operation == "CreateInvite" else None
        return invited or project.users.of(exchange.username)

    def _email_of(self, exchange: Exchange) -> str:
        """Return the e-mail of the invitation or user of a request: from the last read, else from the sandbox."""
        read_at, user = self.read.get((exchange.group_id, exchange.record_id), (0.0, None))
        if user is not None and read_at > self.cluster.time() - MINUTE:
            return user.username.lower()
        project = self.sandbox.state.project(exchange.group_id)
        found = project.invitations.get(exchange.record_id) or project.users.get(exchange.record_id)
        if found is not None:
            return found.username.lower()
        sent_to = self.sent_to.get((exchange.group_id, exchange.record_id), "")
        return next((e.username.lower() for e in project.ended if e.id == exchange.record_id), sent_to)

    def _sent_live(self, exchange: Exchange) -> bool:
        """Return whether an invitation that the operator sent to the person is pending, and it can know of it.

        The Users API does not show an invitation of the Invites API. Then the invitation counts if the status of an
        object shows it, or if the send is unconfirmed and this process or a status knows of that.
        """
        project = self.sandbox.state.project(exchange.group_id)
        invitation, user = project.invitations.of(exchange.username), project.users.of(exchange.username)
        if user is not None and user.status is Membership.PENDING and user.inviter in self.ours:
            return True
        if invitation is None or invitation.inviter not in self.ours:
            return False
        known = (r.status.invitation for r in self._objects())
        if exchange.operation == "CreateInvite" or any(k is not None and k.id == invitation.id for k in known):
            return True
        return invitation.id not in self.remembered and self._is_known_as_lost(exchange)

    def _is_known_as_lost(self, exchange: Exchange) -> bool:
        """Return whether the last send to the person through the Invites API is unconfirmed, and is remembered."""
        group, email = exchange.group_id, exchange.username
        last = next(
            e
            for e in reversed(self.exchanges)
            if (e.operation, e.group_id, e.username) == ("CreateInvite", group, email) and e.carried_out is not None
        )
        if last.answered:
            return False
        return last.began >= self.started or any(
            r.has_finalizer
            and r.status.invitation is None
            and r.status.atlas is not None
            and r.status.atlas.api == "Invites"
            and self._told_before(r, last.began)
            for r in self._objects()
            if self._asks_for(r, group, email)
        )

    def _told_before(self, resource: Resource, moment: float) -> bool:
        """Return whether the operator knew this object, with its finalizer, before that moment."""
        versions = self.history[resource.key]
        return any(t.resource.uid == resource.uid and t.resource.has_finalizer and t.since <= moment for t in versions)

    def _break(self, exchange: Exchange, what: str) -> None:
        self.broken.append(f"{self.cluster.time():.3f} s: {exchange.operation} {exchange.username}: {what}")


def _pending_ids(invitations: list[Invitation], users: list[User]) -> set[str]:
    return {i.id for i in invitations} | {u.id for u in users if u.status is Membership.PENDING}


def _refuses(exchange: Exchange) -> bool:
    """Return whether Atlas refused a request, and not only for now."""
    return 400 <= exchange.status < 500 and exchange.status not in {409, 429}


def _email(resource: Resource) -> str:
    """Return the e-mail of an object in lower case: that of the spec, else that of status."""
    status: Status = resource.status
    known = status.invitation.username if status.invitation else None
    return (resource.spec.username or known or "").lower()
