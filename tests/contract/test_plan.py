"""``atlas-invites plan`` against the sandbox: a line for each possible row of Tables A and D, in both APIs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from atlas_invites.controller import observe
from atlas_invites.invitation.case import Presence
from atlas_invites.invitation.deletion import RETAIN_ROWS, TABLE_D
from atlas_invites.invitation.model import Api, DeletionPolicy
from atlas_invites.invitation.outcome import Reason
from atlas_invites.invitation.plan import TABLE_A, decision_of
from atlas_invites.invitation.resource import FINALIZER, Key, Resource
from atlas_invites.preview.documents import Source
from atlas_invites.preview.forecast import Rehearsal
from atlas_invites.preview.imagined import FromEnvironment
from atlas_invites.preview.lines import Action, Line
from atlas_invites.preview.manifests import Manifest
from atlas_invites.preview.plan import PlanError, plan, rehearse
from atlas_invites.preview.rehearsal import RehearsedProject
from atlas_invites.preview.rules import with_defaults
from atlas_invites.preview.settings import PlanSettings
from atlas_sandbox import invites, people, users
from atlas_sandbox.sandbox import PROJECT_ID
from atlas_sandbox.seeding import INVITER
from tests.unit.builders import EMAIL, KEY, OTHER_EMAIL, OWNER, READER, body, ready, resource, wire_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from atlas_invites.invitation.model import Condition
    from atlas_invites.invitation.plan import Decision, Row
    from tests.contract.conftest import Bench

READS = {"ListInvites", "ListUsers", "ReadInvite", "ReadUser", "ReadProject", "Token"}
UNKNOWN_ID = "f" * 24
BYSTANDER = Key(KEY.namespace, "bystander")


@dataclass
class Stage:
    """Atlas, the manifest of one object, and its state in the cluster; scenarios set all three."""

    bench: Bench
    api: Api
    spec: dict[str, Any] = field(default_factory=wire_spec)
    status: dict[str, Any] | None = None
    finalizers: tuple[str, ...] = (FINALIZER,)

    @property
    def _there(self) -> tuple[Any, Any]:
        state = self.bench.sandbox.state
        return state, state.project(PROJECT_ID)

    def invite(self, *roles: str, email: str = EMAIL) -> str:
        """Invite the person through the API in use; return the id."""
        send: Callable[..., Any] = invites.create if self.api is Api.INVITES else users.add
        return str(send(*self._there, email, roles or (READER,), INVITER).id)

    def join(self, *roles: str, email: str = EMAIL) -> str:
        """Make the person a member; return the id."""
        self.invite(*roles, email=email)
        return str(people.accept(*self._there, email).id)

    def happen(self, act: Callable[..., object]) -> None:
        """Let something happen to the person."""
        act(*self._there, EMAIL)

    def remember(self, reason: Reason, state: str | None, /, **fields: Any) -> None:  # noqa: ANN401
        """Let the object have been evaluated before, with this reason and state, and more fields of status."""
        condition: Condition = ready(reason)
        self.status = {
            "observedGeneration": 1,
            "conditions": [condition.to_wire()],
            "rolesSummary": ",".join(self.spec["roles"]),
            "atlas": {"api": self.api},
            **({"state": state} if state else {}),
            **fields,
        }

    def invitation(self, id_: str, *roles: str, days: float = 1, api: Api | None = None) -> dict[str, Any]:
        """Return ``status.invitation`` of an invitation that was sent this many days ago."""
        sent = self.bench.sandbox.clock() - timedelta(days=days)
        return {
            "id": id_,
            "api": api or self.api,
            "groupId": PROJECT_ID,
            "username": EMAIL,
            "roles": list(roles or (READER,)),
            "createdAt": sent.isoformat(),
            "expiresAt": (sent + timedelta(days=30)).isoformat(),
        }

    def member(self, id_: str) -> dict[str, Any]:
        """Return ``status.member``."""
        return {"id": id_, "username": EMAIL, "roles": [READER], "orgMembershipStatus": "ACTIVE"}

    @property
    def live(self) -> Resource | None:
        """Return the object in the cluster, if it exists."""
        if self.status is None:
            return None
        return Resource.from_body(body(spec=dict(self.spec), status=self.status, finalizers=list(self.finalizers)))

    async def plan(self, *wanted: Manifest, prune: bool = False, others: Sequence[Resource] = ()) -> list[Line]:
        """Return the plan, with other objects in the cluster; Atlas is only read."""
        self.bench.sandbox.calls.clear()
        async with self.bench.client() as atlas:
            atlas.stop_sending()
            rehearsal = Rehearsal(
                atlas, FromEnvironment(self.bench.credentials, None), self.bench.credentials, time.monotonic
            )
            live = {one.key: one for one in (self.live, *others) if one is not None}
            lines = await rehearse(rehearsal, wanted, live, prune=prune)
        assert set(self.bench.calls()) <= READS
        return lines

    async def apply(self) -> Line:
        """Return the line of the manifest."""
        (line,) = await self.plan(self.manifest())
        return line

    async def prune(self, *others: Resource) -> list[Line]:
        """Return the lines if the object's manifest is removed, and that of another, suspended object stays."""
        spec = with_defaults(wire_spec(username=OTHER_EMAIL, suspend=True))
        manifest = Manifest(Source("m.yaml", 2), BYSTANDER, spec, None, None)
        _, *lines = await self.plan(manifest, prune=True, others=others)
        return lines

    async def delete(self) -> Line:
        """Return the line of the object if its manifest is removed."""
        (line,) = await self.prune()
        return line

    def waiting(self, **spec: Any) -> Resource:  # noqa: ANN401 - fields of a spec
        """Return a younger object of another namespace for the same person, which waits to take over from the first."""
        status = {
            "observedGeneration": 1,
            "conditions": [ready(Reason.DUPLICATE_INVITE).to_wire()],
            "origin": "Adopted",
            "atlas": {"api": self.api},
        }
        fields = {name: value for name, value in (self.spec | spec).items() if value is not None}
        created = {"creationTimestamp": "2026-08-10T04:00:00Z", "finalizers": [FINALIZER]}
        return resource(Key("team-b", "waiting"), spec=fields, status=status, **created)

    def manifest(self, key: Key = KEY, **changes: Any) -> Manifest:  # noqa: ANN401
        """Return the manifest of the object, or of another one."""
        spec = {name: value for name, value in (self.spec | changes).items() if value is not None}
        return Manifest(Source("m.yaml", 1), key, with_defaults(spec), None, None)


@pytest.fixture(params=list(Api))
def stage(request: pytest.FixtureRequest, bench: Bench) -> Stage:
    """A stage for each API; that of the Users API after the end of the Invites API."""
    if request.param is Api.USERS:
        bench.change({"sunset": {"mode": "on"}})
    return Stage(bench, request.param)


def _mismatch(on: Stage) -> None:
    on.spec["invitationId"] = on.invite(email=OTHER_EMAIL)


def _pending(on: Stage) -> None:
    on.invite()


def _pending_and_kept(on: Stage) -> None:
    id_ = on.invite(READER, OWNER)
    on.remember(Reason.ROLES_DIFFER, "Pending", invitation=on.invitation(id_, OWNER, READER))


def _pending_with_others(on: Stage) -> None:
    on.invite(OWNER)


def _member(on: Stage) -> None:
    on.join()


def _member_observed(on: Stage) -> None:
    on.join(OWNER)


def _member_kept(on: Stage) -> None:
    id_ = on.join(OWNER)
    on.spec["memberPolicy"] = "Manage"
    on.remember(Reason.ROLES_DIFFER, "Accepted", member=on.member(id_) | {"roles": [OWNER]})


def _member_managed(on: Stage) -> None:
    on.join(OWNER)
    on.spec["memberPolicy"] = "Manage"


def _another_person(on: Stage) -> None:
    on.join()
    on.remember(Reason.ACCEPTED, "Accepted", member=on.member(UNKNOWN_ID))


def _accepted(on: Stage) -> None:
    on.remember(Reason.ACCEPTED, "Accepted", member=on.member(UNKNOWN_ID))


def _withdrawn(on: Stage) -> None:
    on.remember(Reason.INVITATION_WITHDRAWN, "Withdrawn", invitation=on.invitation(UNKNOWN_ID))


def _hidden(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(UNKNOWN_ID, api=Api.INVITES))


def _hidden_with_others(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(UNKNOWN_ID, OWNER, api=Api.INVITES))


def _declined(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(on.invite()))
    on.happen(people.decline)


def _expired(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(on.invite(), days=31))
    on.happen(people.expire)


def _expired_again(on: Stage) -> None:
    on.spec["reinvitePolicy"] = "OnExpiry"
    _expired(on)


def _vanished(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(UNKNOWN_ID))


def _gone_after_its_end(on: Stage) -> None:
    on.remember(Reason.INVITED, "Pending", invitation=on.invitation(UNKNOWN_ID, days=31))


def _gone_again(on: Stage) -> None:
    on.spec["reinvitePolicy"] = "OnExpiry"
    _gone_after_its_end(on)


def _unknown_id(on: Stage) -> None:
    on.spec["invitationId"] = UNKNOWN_ID


def _took_over(on: Stage) -> None:
    on.remember(Reason.DUPLICATE_INVITE, None, origin="Adopted")


def _nobody(_: Stage) -> None:
    pass


SEND, SET_ROLES, NO_CHANGE, ATTENTION = Action.SEND, Action.SET_ROLES, Action.NO_CHANGE, Action.NEEDS_ATTENTION
BOTH, OLD, NEW = frozenset(Api), frozenset({Api.INVITES}), frozenset({Api.USERS})

ROWS_A: list[tuple[Callable[[Stage], None], frozenset[Api], Action]] = [
    (_mismatch, BOTH, ATTENTION),
    (_pending, BOTH, NO_CHANGE),
    (_pending_and_kept, BOTH, NO_CHANGE),
    (_pending_with_others, BOTH, SET_ROLES),
    (_member, BOTH, NO_CHANGE),
    (_member_observed, BOTH, NO_CHANGE),
    (_member_kept, BOTH, NO_CHANGE),
    (_member_managed, BOTH, SET_ROLES),
    (_another_person, BOTH, ATTENTION),
    (_accepted, BOTH, ATTENTION),
    (_withdrawn, BOTH, ATTENTION),
    (_hidden, NEW, NO_CHANGE),
    (_hidden_with_others, NEW, ATTENTION),
    (_declined, NEW, ATTENTION),
    (_expired_again, NEW, SEND),
    (_expired, NEW, ATTENTION),
    (_vanished, BOTH, ATTENTION),
    (_gone_again, BOTH, SEND),
    (_gone_after_its_end, BOTH, ATTENTION),
    (_unknown_id, BOTH, ATTENTION),
    (_took_over, BOTH, ATTENTION),
    (_nobody, BOTH, SEND),
]
"""In the order of Table A: how to reach the row, in which API it can occur, and what the plan shows."""


@pytest.fixture
def matched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Row]]:
    """Return the rows of Table A that the scenarios matched."""
    rows: list[Row] = []

    def remember(case: Any) -> Decision:  # noqa: ANN401 - a Case
        decision = decision_of(case)
        rows.append(decision.row)
        return decision

    monkeypatch.setattr(observe, "decision_of", remember)
    return rows  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("row", "arrange", "apis", "action"),
    [(row, *rest) for row, rest in zip(TABLE_A, ROWS_A, strict=True)],
    ids=[arrange.__name__ for arrange, *_ in ROWS_A],
)
async def test_table_a(  # noqa: PLR0913, PLR0917 - the columns of the table
    stage: Stage,
    matched: list[Row],
    row: Row,
    arrange: Callable[[Stage], None],
    apis: frozenset[Api],
    action: Action,
) -> None:
    """Each possible row has its line, with the reason that the object would have."""
    if stage.api not in apis:
        stage.bench.change({"sunset": {"mode": "on" if apis == NEW else "off"}})
        stage.api = next(iter(apis))
    arrange(stage)
    line = await stage.apply()
    assert matched[-1] is row
    assert (line.action, line.reason) == (action, row.report.reason)
    assert line.emails == (action is SEND)
    assert not line.failed


async def test_a_change_of_roles_names_them(stage: Stage) -> None:
    """The line lists added and removed roles, and says whether it is one call or one for each role."""
    stage.invite(OWNER)
    line = await stage.apply()
    assert (line.added, line.removed) == ([READER], [OWNER])
    assert line.text(0, color=False) == f"~ set roles       team-a/jane {EMAIL} +{READER} -{OWNER} (Invited)"


async def test_what_was_pending_at_the_last_status_write_is_read(stage: Stage) -> None:
    """An invitation that status shows, and that is gone since, is not a change of roles."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(UNKNOWN_ID, OWNER))
    stage.spec["roles"] = [OWNER]
    assert (await stage.apply()).reason == Reason.INVITATION_WITHDRAWN


async def test_a_removed_member_is_not_invited(stage: Stage) -> None:
    """Without the cluster a removed member is not known; with it, nothing is sent."""
    assert (await stage.apply()).action is SEND
    stage.remember(Reason.ACCEPTED, "Accepted", member=stage.member(UNKNOWN_ID))
    line = await stage.apply()
    assert (line.action, line.reason, line.emails) == (ATTENTION, Reason.MEMBER_REMOVED, 0)


async def test_a_requested_resend(stage: Stage) -> None:
    """A new value of the annotation sends once more: a pending invitation is canceled first."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    manifest = stage.manifest()
    again = Manifest(manifest.source, KEY, manifest.spec, None, "1")
    (line,) = await stage.plan(again)
    assert (line.action, line.emails) == (SEND, 1)
    assert "the pending invitation is canceled first" in line.text(0, color=False)


async def test_suspended(stage: Stage) -> None:
    """For a suspended object Atlas is not read."""
    stage.spec["suspend"] = True
    line = await stage.apply()
    assert (line.action, line.reason) == (NO_CHANGE, "Suspended")
    assert stage.bench.calls() == []


async def test_new_people_are_no_duplicates(stage: Stage) -> None:
    """Each of two new people in a project gets an e-mail."""
    lines = await stage.plan(stage.manifest(), stage.manifest(BYSTANDER, username=OTHER_EMAIL))
    assert [line.action for line in lines] == [SEND, SEND]


async def test_no_write_leaves_the_process(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The client itself is closed for writes: a bug in the plan is an error, and sends no e-mail."""

    async def send(project: RehearsedProject, username: str, roles: list[str]) -> object:
        real = project._observed.project  # noqa: SLF001 - the mistake
        call = real.create_invite if stage.api is Api.INVITES else real.add_user
        return await call(username, roles)

    monkeypatch.setattr(RehearsedProject, "create_invite" if stage.api is Api.INVITES else "add_user", send)
    file = tmp_path / "m.yaml"
    file.write_text(json.dumps(body(spec=stage.spec)))
    settings = PlanSettings(files=(str(file),), atlas_url=stage.bench.url)
    with pytest.raises(PlanError):
        await plan(settings, stage.bench.credentials, lambda *_: None)
    assert set(stage.bench.calls()) <= READS


async def test_two_new_manifests_for_one_person(stage: Stage) -> None:
    """It is not known which one is created first, so both lines say so; the e-mail counts once."""
    one, other = await stage.plan(
        stage.manifest(), stage.manifest(Key("team-b", "jane"), username=EMAIL.upper(), roles=[OWNER])
    )
    assert one.action is other.action is ATTENTION
    assert one.reason == other.reason == Reason.DUPLICATE_INVITE
    assert one.message == other.message
    assert "team-a/jane (m.yaml, document 1), team-b/jane" in one.message
    assert "created first sends the invitation" in one.message
    assert one.emails + other.emails == 1


async def test_a_new_manifest_for_the_person_of_an_object(stage: Stage) -> None:
    """The object in the cluster is the older one: only the new one needs attention."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    old, new = await stage.plan(stage.manifest(), stage.manifest(Key("team-a", "janet")))
    assert (old.action, old.reason) == (NO_CHANGE, Reason.INVITED)
    assert (new.action, new.reason) == (ATTENTION, Reason.DUPLICATE_INVITE)
    assert "managed by AtlasProjectInvite jane" in new.message


async def test_a_renamed_manifest(stage: Stage) -> None:
    """The new object takes over from the one that is pruned: nothing is canceled, nothing is sent."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    new, old = await stage.plan(stage.manifest(Key("team-a", "janet")), prune=True)
    assert (new.action, new.reason) == (NO_CHANGE, Reason.INVITED)
    assert (old.action, old.key) == (Action.NOTHING, KEY)


async def test_a_renamed_manifest_with_other_roles(stage: Stage) -> None:
    """The new object sets the roles once: however often it is reconciled, it sees what it has set."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    new, _ = await stage.plan(stage.manifest(Key("team-a", "janet"), roles=[OWNER]), prune=True)
    assert (new.action, new.added, new.removed) == (SET_ROLES, [OWNER], [READER])
    assert len(new.writes) == len({write.operation for write in new.writes})


@pytest.mark.parametrize("state", ["Removed", "Accepted"])
async def test_a_renamed_manifest_of_a_member_by_reference(
    stage: Stage, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The project of the pruned object is known only from its reference; the person who left gets no e-mail."""

    async def group_id(*_: object) -> str:
        return PROJECT_ID

    monkeypatch.setattr(FromEnvironment, "group_id", group_id)
    del stage.spec["groupId"]
    stage.spec["projectRef"] = {"name": "my-project"}
    reason = Reason.MEMBER_REMOVED if state == "Removed" else Reason.ACCEPTED
    stage.remember(reason, state, member=stage.member(UNKNOWN_ID), origin="Adopted")
    new, _ = await stage.plan(stage.manifest(Key("team-a", "janet")), prune=True)
    assert (new.writes, new.emails) == ((), 0)


async def test_an_object_without_a_manifest_takes_over(stage: Stage) -> None:
    """An object that waits for a pruned one acts once that one is gone, also in a namespace without manifests."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    pruned, successor = await stage.prune(stage.waiting(roles=[OWNER]))
    assert (pruned.key, pruned.action, pruned.writes) == (KEY, Action.NOTHING, ())
    assert (successor.key, successor.action, successor.source) == (Key("team-b", "waiting"), SET_ROLES, None)
    assert (successor.added, successor.removed) == ([OWNER], [READER])
    (alone,) = await stage.prune(stage.waiting())
    assert alone.key == KEY


async def test_an_object_with_a_reference_takes_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does an object that names its project only by reference."""

    async def group_id(*_: object) -> str:
        return PROJECT_ID

    monkeypatch.setattr(FromEnvironment, "group_id", group_id)
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    _, successor = await stage.prune(stage.waiting(roles=[OWNER], groupId=None, projectRef={"name": "my-project"}))
    assert (successor.action, successor.added) == (SET_ROLES, [OWNER])


async def test_an_object_without_a_manifest_acts_if_the_older_one_is_being_deleted(stage: Stage) -> None:
    """It does so even if the older one has a manifest."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    older = replace(stage.live, deleted_at=datetime.now(UTC))  # type: ignore[type-var]
    stage.status = None
    old, successor = await stage.plan(stage.manifest(), others=[older, stage.waiting(roles=[OWNER])])  # type: ignore[list-item]
    assert (old.key, old.writes) == (KEY, ())
    assert (successor.action, successor.added) == (SET_ROLES, [OWNER])


# Table D.


@pytest.mark.parametrize(
    ("presence", "policy", "action"),
    [
        (Presence.PENDING, DeletionPolicy.CANCEL, Action.CANCEL),
        (Presence.PENDING, DeletionPolicy.REVOKE, Action.CANCEL),
        (Presence.PENDING, DeletionPolicy.RETAIN, Action.NOTHING),
        (Presence.MEMBER, DeletionPolicy.CANCEL, Action.NOTHING),
        (Presence.MEMBER, DeletionPolicy.REVOKE, Action.REMOVE_MEMBER),
        (Presence.MEMBER, DeletionPolicy.RETAIN, Action.NOTHING),
        (Presence.NOTHING, DeletionPolicy.CANCEL, Action.NOTHING),
        (Presence.NOTHING, DeletionPolicy.REVOKE, Action.NOTHING),
    ],
)
async def test_table_d(stage: Stage, presence: Presence, policy: DeletionPolicy, action: Action) -> None:
    """What a deletion removes has its line: canceled, removed, or nothing."""
    assert ((presence, policy) in TABLE_D) == (action is not Action.NOTHING)
    stage.spec["deletionPolicy"] = policy.value
    id_ = UNKNOWN_ID if presence is Presence.NOTHING else stage.invite()
    fields = {"invitation": stage.invitation(id_), "origin": "Created"}
    if presence is Presence.MEMBER:
        stage.happen(people.accept)
        member = stage.bench.sandbox.state.person_id(EMAIL)
        stage.remember(Reason.ACCEPTED, "Accepted", member=stage.member(member), **fields)
    else:
        stage.remember(Reason.INVITED, "Pending", **fields)
    line = await stage.delete()
    assert (line.action, line.emails) == (action, 0)
    assert bool(line.writes) == (action is not Action.NOTHING)


def _unreadable(on: Stage) -> None:
    on.spec["roles"] = []


def _suspended(on: Stage) -> None:
    on.spec["suspend"] = True


def _retained(on: Stage) -> None:
    on.spec["deletionPolicy"] = "Retain"


def _for_another_email(on: Stage) -> None:
    on.remember(Reason.IDENTITY_MISMATCH, "Pending")


def _anothers(on: Stage) -> None:
    on.remember(Reason.DUPLICATE_INVITE, None, origin="Adopted")


def _never_resolved(on: Stage) -> None:
    del on.spec["groupId"]
    on.spec["projectRef"] = {"name": "my-project"}
    on.status = {"observedGeneration": -1}


@pytest.mark.parametrize(
    ("row", "arrange"),
    list(
        zip(
            RETAIN_ROWS,
            [_unreadable, _suspended, _retained, _for_another_email, _anothers, _never_resolved],
            strict=True,
        )
    ),
    ids=lambda value: getattr(value, "__name__", None) or value.why,
)
async def test_what_a_deletion_retains(stage: Stage, row: Any, arrange: Callable[[Stage], None]) -> None:  # noqa: ANN401
    """A row that leaves Atlas unchanged has a line too, with the warning that an event would have."""
    stage.remember(Reason.INVITED, "Pending", invitation=stage.invitation(stage.invite()), origin="Created")
    arrange(stage)
    line = await stage.delete()
    assert (line.action, line.writes) == (Action.NOTHING, ())
    assert ("The operator would warn: " in line.message) == row.warns
