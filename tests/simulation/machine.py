"""Hypothesis lets users, people in Atlas, the clock, faults and restarts act in any order."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from atlas_invites.invitation.credentials import ApiKey
from atlas_invites.invitation.resource import FORCE_DELETE, RECONCILE_REQUESTED_AT, RESEND_REQUESTED_AT, Key, Resource
from atlas_sandbox import invites, people, users
from atlas_sandbox.errors import AtlasError
from atlas_sandbox.faults import Fault
from atlas_sandbox.overrides import Override
from atlas_sandbox.project import Lag
from atlas_sandbox.sandbox import PROJECT_ID
from atlas_sandbox.seeding import INVITER
from tests.simulation.cluster import Trouble
from tests.simulation.world import (
    ACCOUNT,
    API_KEY,
    OTHER_PROJECT,
    OTHER_SECRET,
    PROJECT_REF,
    SECRET,
    STRANGER,
    UNTIL_RESYNCED,
    WRITES,
    World,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atlas_invites.atlas.sunset import Mode
    from atlas_sandbox.model import Invitation, User
    from atlas_sandbox.project import Project

KEYS = (Key("team-a", "ann"), Key("team-a", "bob"), Key("team-b", "ann"), Key("team-b", "zoe"))
EMAILS = ("ann@example.com", "bob@example.com")
NEW_EMAILS = ("ann.new@example.com", "ann.new@example.com", *EMAILS)
ROLES = ("GROUP_READ_ONLY", "GROUP_OWNER", "GROUP_CLUSTER_MANAGER")
ANNOTATIONS = (*[RECONCILE_REQUESTED_AT] * 2, *[RESEND_REQUESTED_AT] * 3, "example.com/any", FORCE_DELETE)
SENDS = frozenset({"CreateInvite", "AddUser"})
LISTS = frozenset({"ListInvites", "ListUsers"})
DELETES = frozenset({"CancelInvite", "RemoveUser"})
READS = frozenset({"ReadInvite", "ReadUser", "ReadProject"})
HOUR, DAY = 3600.0, 86400.0

moments = st.sampled_from([0.0, 0.004, 0.03, 0.06, 0.2, 2.0])
gaps = st.sampled_from([0.0, 0.004, 0.02, 0.03, 0.06, 0.1, 0.2, 2.0, 4.9, 5.02, 5.06, 6.0])
"""The seconds between the two halves of a rename: within the grace of a deletion, about its end, and after it."""
roles = st.lists(st.sampled_from(ROLES), min_size=1, max_size=2, unique=True)
chosen = st.integers(0, 3)
policies = {
    "deletionPolicy": st.sampled_from([None, "Cancel", "Cancel", "Retain", "Revoke"]),
    "memberPolicy": st.sampled_from([None, "Observe", "Manage"]),
    "reinvitePolicy": st.sampled_from([None, "Never", "OnExpiry", "OnExpiry"]),
    "departurePolicy": st.sampled_from([None, "Stall", "Settle"]),
    "suspend": st.sampled_from([None, None, None, None, None, True]),
}
troubles = st.builds(
    Trouble, skip=st.integers(0, 3), stale=st.integers(0, 2), lost=st.integers(0, 1), down=st.integers(0, 2)
)
lags = st.sampled_from([Lag(), Lag(), Lag(seconds=20.0), Lag(seconds=300.0)])
chapters = st.sampled_from(
    [
        *("accept", "accept", "accept", "decline", "expire", "remove", "remove"),
        *("rename", "replace", "leap", "a day", "restart"),
    ]
)
specs = st.fixed_dictionaries(
    {
        "project": st.sampled_from([PROJECT_ID, PROJECT_ID, PROJECT_ID, PROJECT_ID, OTHER_PROJECT, None]),
        "by": st.sampled_from(["email", "email", "email", "id", "both"]),
        "username": st.sampled_from(["ann@example.com", "ann@example.com", "Ann@Example.com", "bob@example.com"]),
        "roles": roles,
        "secret": st.sampled_from([SECRET, SECRET, SECRET, OTHER_SECRET]),
        **policies,
    }
)
faults = st.sampled_from(
    [
        Fault("reset"),
        Fault("reset", when="after"),
        Fault("timeout"),
        Fault("timeout", when="after"),
        Fault("timeout", seconds=3.0),
        Fault("timeout", seconds=40.0),
        Fault("timeout", seconds=20.0, when="after"),
        Fault("garbage", when="after"),
        Fault("status", status=503, when="after"),
        Fault("status", status=500),
        Fault("html", when="after"),
        Fault("empty", when="after"),
        Fault("status", status=429, error_code="RATE_LIMITED", headers={"Retry-After": "5"}),
        Fault("status", status=429, error_code="RATE_LIMITED", headers={"Retry-After": "600"}),
        Fault("status", status=429, error_code="RATE_LIMITED"),
        Fault("status", status=400, error_code="VALIDATION_ERROR"),
        Fault("status", status=400, error_code="INVITATIONS_RATE_LIMITED_IP", operations=SENDS),
        Fault("status", status=409, error_code="USER_ALREADY_IN_GROUP", operations=SENDS),
        Fault("status", status=403, error_code="USER_UNAUTHORIZED"),
        Fault("status", status=404, error_code="GROUP_NOT_FOUND"),
        Fault("status", status=401, error_code="UNAUTHORIZED"),
    ]
)
optional_attributes: dict[str, object] = {"createdAt": 7, "links": [None], "inviterUsername": 5, "groupName": []}
unreadable = st.sampled_from(
    [
        Override("", optional_attributes),
        Override("", {"id": 7}),
        Override("", {"username": {}}),
        Override("", without=frozenset({"id"})),
        Override("", without=frozenset({"username"})),
        Override("", {"username": "ann@xn--nn-fka.example"}),
        Override("", {"roles": [{"roleName": "GROUP_OWNER"}]}),
    ]
)


class Life(RuleBasedStateMachine):
    """The life of invitations. At the end of a sequence everything comes to rest, and the oracle judges it."""

    api: Mode = "auto"
    resyncs = 2

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.api)
        self.failed = False

    @initialize(
        invited=st.none() | st.tuples(st.sampled_from(EMAILS), roles, st.booleans()),
        first=specs,
        second=st.none() | specs,
        trouble=troubles,
        lag=lags,
        fault=st.none() | faults,
        past=st.lists(chapters, max_size=4),
    )
    def begin(  # noqa: PLR0913, PLR0917 - drawn
        self,
        invited: tuple[str, list[str], bool] | None,
        first: dict[str, Any],
        second: dict[str, Any] | None,
        trouble: Trouble,
        lag: Lag,
        fault: Fault | None,
        past: list[str],
    ) -> None:
        """Begin with one or two objects, perhaps an invitation from the UI and a fault, and a past."""
        if invited is not None:
            email, granted, by_users_api = invited
            self._invite(self.world.sandbox.state.project(PROJECT_ID), email, granted, by_users_api=by_users_api)
        self.world.cluster.trouble = replace(trouble)
        self.world.sandbox.state.set_lag(lag)
        if fault is not None:
            self.world.sandbox.faults.add(replace(fault, operations=fault.operations or SENDS))
        for key, spec in zip(KEYS, [first, second], strict=False):
            if spec is not None:
                self._run(0.0, partial(self.world.cluster.create, key, self._wire(spec, 0)))
        for chapter in past:
            self._run(UNTIL_RESYNCED)
            self._live(chapter)

    def _live(self, chapter: str) -> None:
        """Make an event happen to the first person, or a long time pass."""
        if chapter == "leap":
            self.world.loop.jump(31 * DAY)
        elif chapter == "a day":
            self.world.loop.jump(25 * HOUR)
        elif chapter == "restart":
            self.world.kill()
            self.world.start()
        elif chapter in {"rename", "replace"}:
            granted = [ROLES[0]] if chapter == "replace" else None
            self._in_atlas(UNTIL_RESYNCED, 0, partial(self._rename, NEW_EMAILS[0], granted))
        else:
            state = self.world.sandbox.state
            acts: dict[str, Callable[..., object]] = {
                "accept": people.accept,
                "decline": people.decline,
                "expire": people.expire,
                "remove": people.remove,
            }
            self._in_atlas(UNTIL_RESYNCED, 0, lambda project, email: acts[chapter](state, project, email))

    # Users of the cluster.

    @rule(key=st.sampled_from(KEYS), spec=specs, number=chosen, moment=moments)
    def create(self, key: Key, spec: dict[str, Any], number: int, moment: float) -> None:
        """A user creates an object, by e-mail, by id or both."""
        if key in self.world.cluster.objects:
            return
        wire = self._wire(spec, number)
        self._run(moment, lambda: self.world.cluster.create(key, wire))

    @rule(number=chosen, changes=st.fixed_dictionaries({}, optional={"roles": roles, **policies}), moment=moments)
    def edit(self, number: int, changes: dict[str, Any], moment: float) -> None:
        """A user edits a spec."""
        if key := self._key(number):
            self._edit(key, changes, moment)

    @rule(
        number=chosen,
        changes=st.fixed_dictionaries({}, optional={"roles": roles, **policies}),
        first=st.sampled_from([0.0, 0.03, 5.0, 65.0, UNTIL_RESYNCED]),
        then=st.sampled_from(["resume", "resume", "resume", "restart and resume", "restart", "delete"]),
        moment=moments,
    )
    def suspend(self, number: int, changes: dict[str, Any], first: float, then: str, moment: float) -> None:
        """A user suspends an object, changes it meanwhile, and resumes it, deletes it, or leaves it suspended."""
        key = self._key(number)
        if key is None:
            return
        self._edit(key, {"suspend": True}, first)
        self._edit(key, changes | {"suspend": True}, moment)
        if "restart" in then:
            self.world.kill()
            self.world.start()
            self._run(first)
        if "resume" in then:
            self._edit(key, {"suspend": None}, moment)
        elif then == "delete":
            self._run(moment, lambda: self.world.cluster.delete(key))

    @rule(number=chosen, moment=moments)
    def delete(self, number: int, moment: float) -> None:
        """A user deletes an object."""
        if key := self._key(number):
            self._run(moment, lambda: self.world.cluster.delete(key))

    @rule(number=chosen, to=st.sampled_from(KEYS), first=st.booleans(), by_id=st.booleans(), moment=gaps)
    def move(self, number: int, to: Key, first: bool, by_id: bool, moment: float) -> None:  # noqa: FBT001 - drawn
        """A GitOps tool renames an object: it creates the new one or deletes the old one first; it may name the id."""
        key, cluster = self._key(number), self.world.cluster
        if key is None or to in cluster.objects:
            return
        spec, known = dict(cluster.objects[key]["spec"]), Resource.from_body(cluster.objects[key]).status.invitation
        if by_id and known is not None:
            spec = {name: value for name, value in spec.items() if name not in {"username", "reinvitePolicy"}}
            spec["invitationId"] = known.id
        acts: list[Callable[[], object]] = [lambda: cluster.create(to, spec), lambda: cluster.delete(key)]
        for act in acts if first else reversed(acts):
            self._run(moment, act)

    @rule(
        number=chosen,
        annotation=st.sampled_from(ANNOTATIONS),
        moment=moments,
    )
    def annotate(self, number: int, annotation: str, moment: float) -> None:
        """A user sets an annotation."""
        key = self._key(number)
        if key is None:
            return
        deleting = "deletionTimestamp" in self.world.cluster.objects[key]["metadata"]
        if annotation != FORCE_DELETE or deleting:
            self._run(moment, lambda: self.world.request(key, annotation))

    @rule(what=st.sampled_from(["missing", "empty", "unknown", "key", "key", "account"]), moment=moments)
    def write_secret(self, what: str, moment: float) -> None:
        """A Secret is deleted, emptied, or written with an unknown key, a valid key, or a service account."""
        secret, secrets = Key("team-a", SECRET), self.world.cluster.secrets
        good = {"unknown": ApiKey("unknown", "no-key-of-anybody"), "key": API_KEY, "account": ACCOUNT}
        if what in good:
            if what == "unknown":
                self.world.safety.rejected.add(secret)
            self._run(moment, lambda: secrets.update({secret: good[what]}))
        else:
            self._run(moment, lambda: self.world.spoil_secret(secret, missing=what == "missing"))

    @rule(moment=moments)
    def ready_project(self, moment: float) -> None:
        """The AtlasProject becomes ready."""
        for namespace in ("team-a", "team-b"):
            self.world.cluster.project_ids[Key(namespace, PROJECT_REF)] = PROJECT_ID
        self._run(moment)

    # People in Atlas.

    @rule(
        act=st.sampled_from(
            [people.accept, people.accept, people.accept, people.decline, people.expire, people.remove]
        ),
        number=chosen,
        moment=moments,
    )
    def happen(self, act: Callable[..., object], number: int, moment: float) -> None:
        """An invitee accepts or declines, an invitation expires, or a member is removed."""
        self._in_atlas(moment, number, lambda project, email: act(self.world.sandbox.state, project, email))

    @rule(number=chosen, granted=roles, by_users_api=st.booleans(), moment=moments)
    def invite_elsewhere(self, number: int, granted: list[str], by_users_api: bool, moment: float) -> None:  # noqa: FBT001
        """An administrator invites in the UI."""
        self._in_atlas(moment, number, lambda project, email: self._invite(project, email, granted, by_users_api))

    @rule(number=chosen, granted=roles, moment=moments)
    def change_roles_elsewhere(self, number: int, granted: list[str], moment: float) -> None:
        """An administrator changes roles in the UI."""
        state = self.world.sandbox.state

        def change(project: Project, email: str) -> None:
            if invitation := project.invitations.of(email):
                state.change_invite(project, invitation, tuple(granted))
            if (user := project.users.of(email)) and user.status in users.LIVE:
                state.change_user(project, user, tuple(granted))

        self._in_atlas(moment, number, change)

    @rule(number=chosen, moment=moments)
    def cancel_elsewhere(self, number: int, moment: float) -> None:
        """An administrator cancels a pending invitation in the UI."""
        state = self.world.sandbox.state

        def cancel(project: Project, email: str) -> None:
            if invitation := project.invitations.of(email):
                state.end_invite(project, invitation, "cancelled")
            if (user := project.users.of(email)) and user.status == "PENDING":
                state.end_user(project, user, "cancelled")

        self._in_atlas(moment, number, cancel)

    @rule(email=st.sampled_from(EMAILS), joins=st.booleans(), moment=moments)
    def change_organization(self, email: str, joins: bool, moment: float) -> None:  # noqa: FBT001 - drawn
        """A person joins the organization, or leaves it."""
        state = self.world.sandbox.state
        self._run(moment, lambda: state.join_organization(email) if joins else state.leave_organization(email))

    @rule(number=chosen, new_email=st.sampled_from(NEW_EMAILS), granted=st.none() | roles, moment=moments)
    def change_email(self, number: int, new_email: str, granted: list[str] | None, moment: float) -> None:
        """A member gets another e-mail; another person may join the project under the old one, with these roles."""
        self._in_atlas(moment, number, partial(self._rename, new_email, granted))

    @rule(
        number=chosen,
        change=st.sampled_from(["delete", "delete", "delete", "roles", "suspend", "request", "resend", "resend"]),
        gap=st.sampled_from([0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.16, 0.21]),
        act=st.sampled_from([people.accept, people.accept, people.decline, people.expire, people.remove]),
        moment=moments,
    )
    def race(self, number: int, change: str, gap: float, act: Callable[..., object], moment: float) -> None:
        """A user changes an object, and within a moment an event happens to the person in Atlas."""
        key, cluster = self._key(number), self.world.cluster
        if key is None:
            return
        changes: dict[str, Callable[[], object]] = {
            "delete": lambda: cluster.delete(key),
            "roles": lambda: cluster.edit(key, {"roles": list(ROLES)}),
            "suspend": lambda: cluster.edit(key, {"suspend": True}),
            "request": lambda: self.world.request(key),
            "resend": lambda: self.world.request(key, RESEND_REQUESTED_AT),
        }
        spec = cluster.objects[key]["spec"]
        group, email = spec.get("groupId", PROJECT_ID), spec.get("username", EMAILS[0]).lower()
        self._run(gap, changes[change])
        self._run(moment, lambda: self._act(group, email, act))

    # Faults.

    @rule(
        fault=faults,
        operations=st.sampled_from([SENDS, SENDS, WRITES, LISTS, DELETES, READS, frozenset()]),
        count=st.integers(1, 3),
        skip=st.sampled_from([0, 0, 0, 1, 2]),
        moment=moments,
    )
    def order_fault(self, fault: Fault, operations: frozenset[str], count: int, skip: int, moment: float) -> None:
        """The next calls of Atlas meet a fault, perhaps after some calls without one."""
        ordered = replace(fault, operations=fault.operations or operations, count=count, skip=skip)
        self.world.sandbox.faults.add(ordered)
        self._run(moment)

    @rule(
        project_id=st.sampled_from([PROJECT_ID, PROJECT_ID, OTHER_PROJECT]),
        status=st.sampled_from([401, 401, 403, 404]),
        moment=moments,
    )
    def refuse_project(self, project_id: str, status: int, moment: float) -> None:
        """Atlas refuses every call for one project, until the faults end."""
        code = {401: "UNAUTHORIZED", 403: "USER_UNAUTHORIZED", 404: "GROUP_NOT_FOUND"}[status]
        self.world.sandbox.faults.add(Fault("status", status=status, error_code=code, project=project_id, count=None))
        self._run(moment)

    @rule(
        override=unreadable,
        username=st.sampled_from([STRANGER, STRANGER, *EMAILS]),
        operations=st.sampled_from([frozenset(), frozenset(), LISTS, SENDS]),
        member=st.booleans(),
        moment=moments,
    )
    def show_otherwise(
        self,
        override: Override,
        username: str,
        operations: frozenset[str],
        member: bool,  # noqa: FBT001 - drawn
        moment: float,
    ) -> None:
        """Atlas shows an entry that is partly unreadable, of a person of an object or of a stranger."""
        if "roles" in override.attributes:
            username = STRANGER
        self.world.sandbox.overrides.add(replace(override, username=username, operations=operations))
        if username == STRANGER:
            for project_id in self.world.sandbox.state.projects:
                self._act(project_id, STRANGER, lambda _, p, email: self._invite(p, email, [ROLES[0]], member))
                if member:
                    self._act(project_id, STRANGER, people.accept)
        self._run(moment)

    @rule(
        dropped=st.sampled_from([(), ("GROUP_OWNER",), ("GROUP_CLUSTER_MANAGER",)]),
        added=st.sampled_from([(), (), ("GROUP_SEARCH_INDEX_EDITOR",)]),
        moment=moments,
    )
    def keep_other_roles(self, dropped: tuple[str, ...], added: tuple[str, ...], moment: float) -> None:
        """Atlas begins or stops to store other roles than those of a write."""
        rules = self.world.sandbox.state.rules
        rules.dropped_roles, rules.added_roles = frozenset(dropped), added
        self._run(moment)

    @rule(moment=moments)
    def end_faults(self, moment: float) -> None:
        """All faults of Atlas's responses end."""
        self.world.sandbox.faults.clear()
        self.world.sandbox.overrides.clear()
        self._run(moment)

    @rule(
        down=st.booleans(),
        lag=lags,
        trouble=troubles,
        late=st.sampled_from([0.001, 0.5, 10.0]),
        twice=st.booleans(),
        cut=st.booleans(),
        which=st.sampled_from(["network", "lists", "cluster", "watch", "cut watch"]),
        moment=moments,
    )
    def change_weather(  # noqa: PLR0913, PLR0917 - drawn
        self,
        down: bool,  # noqa: FBT001
        lag: Lag,
        trouble: Trouble,
        late: float,
        twice: bool,  # noqa: FBT001
        cut: bool,  # noqa: FBT001
        which: str,
        moment: float,
    ) -> None:
        """Atlas becomes unavailable, its lists lag, the API server or the watch has faults; or these faults end."""
        cluster = self.world.cluster
        match which:
            case "network":
                self.world.network.down = down
            case "lists":
                self.world.sandbox.state.set_lag(lag)
            case "cluster":
                cluster.trouble = replace(trouble)
            case "watch":
                cluster.watch.lag, cluster.watch.twice = late, twice
            case _:
                self._run(moment, cluster.cut if cut else cluster.mend)
        self._run(moment)

    @rule(down_for=st.sampled_from([0.0, 5.0, 120.0]), moment=moments)
    def restart(self, down_for: float, moment: float) -> None:
        """The operator is killed, and started again."""
        self.world.kill()
        self._run(down_for)
        self.world.start()
        self._run(moment)

    @rule(number=chosen, down_for=st.sampled_from([None, 0.0, 120.0]), moment=moments)
    def strip_finalizer(self, number: int, down_for: float | None, moment: float) -> None:
        """A user removes the finalizer of an object, while the operator runs (None) or is down.

        This happens only once status shows that the operator has read Atlas. Before that, the operator cannot know that
        there was a finalizer (docs/decisions.md), and so it cannot know of an unconfirmed send.
        """
        key, cluster = self._key(number), self.world.cluster
        if key is None or Resource.from_body(cluster.objects[key]).status.atlas is None:
            return
        if down_for is not None:
            self.world.kill()
        self._run(down_for or 0.0, lambda: cluster.strip(key))
        self.world.start()
        self._run(moment)

    # Time.

    @rule(seconds=st.sampled_from([-HOUR, HOUR, 25 * HOUR]))
    def set_node_clock(self, seconds: float) -> None:
        """The clock of the operator's node jumps."""
        self.world.wall_ahead += seconds
        self._run(0.0)

    @rule(seconds=st.sampled_from([0.1, 5.0, 30.0, 65.0, 130.0, UNTIL_RESYNCED, UNTIL_RESYNCED]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self._run(seconds)

    @rule(seconds=st.sampled_from([HOUR, 25 * HOUR, 29.9 * DAY, 31 * DAY]), atlas_only=st.booleans())
    def leap(self, seconds: float, atlas_only: bool) -> None:  # noqa: FBT001 - drawn
        """A long time passes at once, by all clocks or only by that of Atlas."""
        if atlas_only:
            self.world.sandbox.clock.advance(seconds)
            accounts = [secret for secret, held in self.world.cluster.secrets.items() if held == ACCOUNT]
            self.world.safety.rejected.update(accounts)  # their tokens have expired, perhaps during a request
        else:
            self.world.loop.jump(seconds)
        self._run(0.2)

    def teardown(self) -> None:
        """Let everything come to rest, and judge it."""
        try:
            if not self.failed:
                with self._telling():
                    self.world.rest()
                    self.world.stay_quiet(self.resyncs)
        finally:
            self.world.close()

    # Helpers.

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Print what happened if a step fails; then the rest is not judged."""
        try:
            yield
        except BaseException:
            self.failed = True
            note(self.world.story())
            raise

    def _edit(self, key: Key, changes: dict[str, Any], moment: float) -> None:
        """Edit the spec of an object as a user, if the object still exists; the CRD must allow the edit."""
        if key not in self.world.cluster.objects:
            return
        if "username" not in self.world.cluster.objects[key]["spec"]:
            changes.pop("reinvitePolicy", None)
        self._run(moment, lambda: self.world.cluster.edit(key, changes))

    def _run(self, seconds: float, act: Callable[[], object] = lambda: None) -> None:
        with self._telling():
            self.world.run(seconds, act)

    def _in_atlas(self, moment: float, number: int, act: Callable[[Project, str], object]) -> None:
        """Make an event happen to one of the people of the objects."""
        specs_ = [o["spec"] for o in self.world.cluster.objects.values()]
        named = {(s.get("groupId", PROJECT_ID), s.get("username", EMAILS[0]).lower()) for s in specs_}
        state = self.world.sandbox.state
        renamed = NEW_EMAILS[0]
        named |= {(p.id, renamed) for p in state.projects.values() if p.users.of(renamed) is not None}
        group, email = sorted(named | {(PROJECT_ID, EMAILS[0])})[number % (len(named) or 1)]

        self._run(moment, lambda: self._act(group, email, lambda _, project, person: act(project, person)))

    def _act(self, group: str, email: str, act: Callable[..., object]) -> None:
        """Make an event happen in Atlas, if it is possible."""
        state = self.world.sandbox.state
        with suppress(AtlasError):
            act(state, state.project(group), email)

    def _invite(self, project: Project, email: str, granted: list[str], by_users_api: bool) -> None:  # noqa: FBT001
        send: Callable[..., object] = users.add if by_users_api else invites.create
        send(self.world.sandbox.state, project, email, tuple(granted), INVITER)

    def _rename(self, new_email: str, granted: list[str] | None, project: Project, email: str) -> None:
        state = self.world.sandbox.state
        member_id = state.rename_member(email, new_email)
        self.world.safety.former_emails.setdefault(member_id, set()).add(email.lower())
        if granted is not None and email != new_email:
            state.join_organization(email)
            state.activate(project, email, tuple(granted))

    def _key(self, number: int) -> Key | None:
        """Return one of the existing objects."""
        keys = sorted(self.world.cluster.objects)
        return keys[number % len(keys)] if keys else None

    def _wire(self, spec: dict[str, Any], number: int) -> dict[str, Any]:
        """Return a spec as a user writes it; an id is that of an existing invitation, or unknown."""
        group = spec["project"] or PROJECT_ID
        project = self.world.sandbox.state.project(group)
        there: list[Invitation | User] = [*project.invitations.all(), *project.users.all()]
        ids = sorted(entry.id for entry in there if entry.username != STRANGER)
        by = spec["by"] if ids or number == 0 else "email"
        ids = ids or ["f" * 24]
        wire: dict[str, Any] = {
            "groupId": spec["project"],
            "projectRef": None if spec["project"] else {"name": PROJECT_REF},
            "username": None if by == "id" else spec["username"],
            "invitationId": None if by == "email" else ids[number % len(ids)],
            "roles": spec["roles"],
            "connectionSecretRef": {"name": spec["secret"]},
            **{name: spec[name] for name in policies},
        }
        if by == "id":
            wire["reinvitePolicy"] = None
        return {name: value for name, value in wire.items() if value is not None}


class LifeAfterSunset(Life):
    """The life of invitations, with the end of the Invites API at any time."""

    @rule(moment=moments)
    def sunset(self, moment: float) -> None:
        """The Invites API ends."""
        self.world.sandbox.sunset.mode = "on"
        self._run(moment)


class LifeOfUsers(Life):
    """The life of invitations with only the Users API."""

    api = "users"
