"""The laws that hold at every step: what the operator may send, change and remove, judged by what it had been told.

Each request of the operator is judged as it leaves. A law is told about the operator's knowledge, not about the truth:
an edit that no event has told yet, and an acceptance that happens while a removal is under way, break nothing.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from atlas_invites.invitation.resource import Key, Resource
from atlas_sandbox.model import Membership
from tests.simulation.cluster import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atlas_invites.invitation.model import Spec, Status
    from atlas_sandbox.sandbox import Sandbox
    from tests.simulation.cluster import Cluster
    from tests.simulation.network import Exchange

MINUTE = 60.0
KNEW = 120.0
"""Seconds for which the operator may still act on a version that was replaced: one turn, with its time-outs."""
PROVEN = 90.0
"""Seconds after which an object that shows its invitation on status must be heeded by everybody."""
A_DAY = timedelta(days=1)
SENDING = frozenset({"CreateInvite", "AddUser"})
LISTS = frozenset({"ListInvites", "ListUsers"})
ROLES = frozenset({"AddRole", "RemoveRole"})
LATCHED = frozenset({"Accepted", "Removed", "Withdrawn"})


@dataclass(slots=True)
class Told:
    """A version of an object that the operator took for the latest from ``since`` on."""

    since: float
    resource: Resource


@dataclass(slots=True)
class Safety:
    """Judges every request.

    Attributes:
        broken: what was broken, in words.
        ours: ids of the credentials that the operator sends with.
    """

    cluster: Cluster
    sandbox: Sandbox
    ours: frozenset[str]
    broken: list[str] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    history: dict[Key, list[Told]] = field(default_factory=lambda: defaultdict(list))
    shown: dict[str, float] = field(default_factory=dict)
    """Since when an object, by uid, shows on status that it has its invitation, or waits for it."""
    unanswered: dict[tuple[str, str], float] = field(default_factory=dict)
    """When a sending to a person of a project got no answer last."""
    looked: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(lambda: float("-inf")))
    """When the latest list of a project that was answered began, by operation."""
    read: dict[tuple[str, str], tuple[float, Membership | None]] = field(default_factory=dict)
    """What the last answered read of a user showed, and when."""
    sent: set[str] = field(default_factory=set)
    """Ids of the invitations that we sent."""
    remembered: set[str] = field(default_factory=set)
    """Ids of the invitations that a status has shown."""
    started: float = 0.0
    """When the process that runs began."""

    def told(self, resource: Resource) -> None:
        """Take note of what the operator was told, and see that it never goes back to an older version (law 7)."""
        versions = self.history[resource.key]
        if versions and versions[-1].resource.uid == resource.uid and versions[-1].resource.newer_than(resource):
            self.broken.append(f"law 7: {resource.key} went back to an older version")
        self.history[resource.key].append(Told(self.cluster.time(), resource))
        status = resource.status
        if status.invitation is not None:
            self.remembered.add(status.invitation.id)
        ready = status.condition("Ready")
        waits = ready is not None and ready.reason == "DuplicateInvite"
        if status.invitation is not None or status.member is not None or waits:
            self.shown.setdefault(resource.uid, self.cluster.time())

    def before(self, exchange: Exchange) -> None:
        """Judge a request as it leaves the operator."""
        self.exchanges.append(exchange)
        match exchange.operation:
            case "CreateInvite" | "AddUser":
                self._judge_sending(exchange)
            case "CancelInvite":
                self._judge_cancelling(exchange)
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
        """Judge a request as Atlas gets it (law 1), and take note of what a read is about to show."""
        if exchange.operation in SENDING and self._sent_live(exchange):
            self._break(exchange, "law 1: an invitation of ours is live already")
        if exchange.operation == "ReadUser":
            user = self.sandbox.state.project(exchange.group_id).users.get(exchange.record_id)
            self.read[exchange.group_id, exchange.record_id] = (self.cluster.time(), user.status if user else None)

    def after(self, exchange: Exchange) -> None:
        """Take note of what became of a request."""
        now = self.cluster.time()
        if project := self.sandbox.state.projects.get(exchange.group_id):
            self.sent |= {i.id for i in project.invitations.all() if i.inviter in self.ours}
            self.sent |= {u.id for u in project.users.all() if u.inviter in self.ours}
        if exchange.operation in SENDING and not exchange.answered and not exchange.refused:
            self.unanswered[exchange.group_id, exchange.username] = now
        if exchange.operation in LISTS and exchange.status == 200 and not exchange.filtered:
            known = self.looked[exchange.group_id, exchange.operation]
            self.looked[exchange.group_id, exchange.operation] = max(known, exchange.began)

    # The judgements.

    def _judge_sending(self, exchange: Exchange) -> None:
        group, email = exchange.group_id, exchange.username
        named = [r for r in self._objects() if self._asks_for(r, group, email)]
        if not any(r.has_finalizer for r in named):
            self._break(exchange, "law 2: no object with our finalizer asks for it")
        since = self.unanswered.get((group, email))
        look = "ListInvites" if exchange.operation == "CreateInvite" else "ListUsers"
        if since is not None and self.looked[group, look] < since + MINUTE:
            self._break(exchange, "law 3: a sending got no answer less than a minute before the last look")
        if not any(self._may_send(r) for r in named):
            self._break(
                exchange, "no object may send it: accepted, withdrawn, claimed by an older one, or not asked for"
            )

    def _judge_cancelling(self, exchange: Exchange) -> None:
        email = self._email_of(exchange)
        self._judge_ending(exchange, email, {"Cancel", "Revoke"})

    def _judge_removal(self, exchange: Exchange) -> None:
        group, id_ = exchange.group_id, exchange.record_id
        read_at, seen = self.read.get((group, id_), (float("-inf"), None))
        if seen is None or read_at < self.cluster.time() - MINUTE:
            self._break(exchange, "the user was not read right before")
        allowed = {"Cancel", "Revoke"} if seen is Membership.PENDING else {"Revoke"}
        self._judge_ending(exchange, self._email_of(exchange), allowed)

    def _judge_ending(self, exchange: Exchange, email: str, allowed: set[str]) -> None:
        """Law 8: only a deleted object whose policy says so ends anything, and only where it has no heir."""
        enders = [told for told in self._told() if self._may_end(exchange, told, email, allowed)]
        if not enders:
            self._break(exchange, "law 8: no deletion policy asks for it")
        elif all(self._heir(exchange, ender, email) for ender in enders):
            self._break(exchange, "law 8: another live object has it")

    def _heir(self, exchange: Exchange, ender: Resource, email: str) -> bool:
        """Whether another live object had shown its claim when this one was deleted, or long ago."""
        deleted = ((ender.deleted_at or self.cluster.now()) - START).total_seconds()
        known_until = max(self.cluster.time() - PROVEN, deleted)
        return any(
            self.shown.get(other.uid, known_until) < known_until
            and not other.deleting
            and self._names(other, exchange, email)
            for other in self._objects()
        )

    def _judge_role(self, exchange: Exchange) -> None:
        _, seen = self.read.get((exchange.group_id, exchange.record_id), (0.0, None))
        email = self._email_of(exchange)
        claims = list(self._live_claims(exchange, email))
        if seen is Membership.ACTIVE and not any(r.spec.member_policy == "Manage" for r in claims):
            self._break(exchange, "no object manages this member")
        if not claims:
            self._break(exchange, "no live object asks for these roles")

    # What the operator knows.

    def _told(self) -> Iterator[Resource]:
        """Every version that the operator holds, or held a moment ago."""
        now = self.cluster.time()
        for versions in self.history.values():
            until = [told.since for told in versions[1:]] + [now]
            yield from (t.resource for t, end in zip(versions, until, strict=True) if end >= now - KNEW)

    def _objects(self) -> Iterator[Resource]:
        """Every object as the API server has it."""
        for key in self.cluster.objects:
            yield Resource.from_body(self.cluster.objects[key])

    def _may_send(self, resource: Resource) -> bool:
        """Whether Table A lets this object send an invitation, by its status and what the operator was told of it."""
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
        """Whether an older object has shown for long that it has the invitation."""
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
            if not resource.deleting and not resource.spec.suspend and self._names(resource, exchange, email):
                yield resource

    def _may_end(self, exchange: Exchange, resource: Resource, email: str, allowed: set[str]) -> bool:
        if not resource.deleting or resource.spec.suspend or not self._names(resource, exchange, email):
            return False
        policy = resource.spec.deletion_policy
        if policy is None:
            return "Cancel" in allowed and (resource.status.origin == "Created" or exchange.record_id in self.sent)
        return policy in allowed

    def _names(self, resource: Resource, exchange: Exchange, email: str) -> bool:
        status = resource.status
        ids = {resource.spec.invitation_id, status.invitation.id if status.invitation else None}
        groups = {self._group(resource.key, resource.spec), status.invitation.group_id if status.invitation else None}
        named = exchange.record_id in ids or (bool(email) and _email(resource) == email)
        return exchange.group_id in groups and named

    def _group(self, key: Key, spec: Spec) -> str | None:
        if spec.project_ref is None:
            return spec.group_id
        return self.cluster.project_ids.get(Key(key.namespace, spec.project_ref.name))

    # What is true in Atlas.

    def _email_of(self, exchange: Exchange) -> str:
        """The e-mail of the invitation or user that a request is about, as it is or as it ended."""
        project = self.sandbox.state.project(exchange.group_id)
        found = project.invitations.get(exchange.record_id) or project.users.get(exchange.record_id)
        if found is not None:
            return found.username.lower()
        return next((e.username.lower() for e in project.ended if e.id == exchange.record_id), "")

    def _sent_live(self, exchange: Exchange) -> bool:
        """Whether an invitation that we sent to the person is pending, in either API, as far as anybody can know.

        Through the users API nobody sees one of the invites API: there it counts where an object's status remembers it,
        or where it was never found after its answer was lost, and this process or a status knows of that.
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
        """Whether the last sending to the person through the invites API got no answer, and somebody remembers that."""
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
        """Whether the operator knew this object, with its finalizer, before that moment."""
        versions = self.history[resource.key]
        return any(t.resource.uid == resource.uid and t.resource.has_finalizer and t.since <= moment for t in versions)

    def _break(self, exchange: Exchange, what: str) -> None:
        self.broken.append(f"{self.cluster.time():.3f} s: {exchange.operation} {exchange.username}: {what}")


def _email(resource: Resource) -> str:
    """The e-mail of an object: spec's, else the one on status."""
    status: Status = resource.status
    known = status.invitation.username if status.invitation else None
    return (resource.spec.username or known or "").lower()
