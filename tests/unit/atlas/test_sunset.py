"""When the operator switches to the Users API."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atlas_invites.atlas.errors import InvalidRequest, VersionGone
from atlas_invites.atlas.sunset import Mode, Sunset
from atlas_invites.invitation.model import Api, Operation

HEADERS = {"Deprecation": "Wed, 4 Oct 2023 00:00:00 GMT", "Sunset": "Thu, 1 Jul 2027 00:00:00 GMT"}
BEFORE = datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC)
AFTER = datetime(2027, 7, 1, tzinfo=UTC)
GONE = VersionGone(Operation.LIST_INVITES, "410 VERSION_GONE")


def sunset(mode: Mode = "auto", now: datetime = BEFORE) -> Sunset:
    return Sunset(mode, lambda: now)


@pytest.mark.parametrize(("mode", "api"), [("auto", Api.INVITES), ("invites", Api.INVITES), ("users", Api.USERS)])
def test_which_api_is_used_at_first(mode: Mode, api: Api) -> None:
    """The Invites API, unless the Users API was requested."""
    assert sunset(mode).api("g") is api
    assert sunset(mode).info("g").to_wire() == {"api": api.value}


def test_410_switches_that_project() -> None:
    """410 VERSION_GONE switches one project, once; the call that got it asks for a new read."""
    state = sunset()
    assert state.over("g", GONE) is GONE
    assert (state.api("g"), state.api("h")) == (Api.USERS, Api.INVITES)


@pytest.mark.parametrize("mode", ["invites", "users"])
def test_410_without_a_switch_is_an_invalid_request(mode: Mode) -> None:
    """``invites`` never switches."""
    state = sunset(mode)
    before = state.api("g")
    failure = state.over("g", GONE)
    assert type(failure) is InvalidRequest
    assert failure.what == GONE.what
    assert state.api("g") is before


@pytest.mark.parametrize(
    ("mode", "now", "api"),
    [
        ("auto", BEFORE, Api.INVITES),
        ("auto", AFTER, Api.USERS),
        ("invites", AFTER, Api.INVITES),
        ("users", BEFORE, Api.USERS),
    ],
)
def test_the_sunset_date_switches(mode: Mode, now: datetime, api: Api) -> None:
    """By Atlas's clock, once a response has given the date."""
    state = sunset(mode, now)
    state.learn(Operation.UPDATE_INVITE, HEADERS)
    assert state.api("g") is api


def test_what_status_shows_of_the_end() -> None:
    """RFC 3339, kept if a later response does not give it again."""
    state = sunset()
    state.learn(Operation.LIST_INVITES, HEADERS)
    state.learn(Operation.LIST_INVITES, {})
    state.learn(Operation.LIST_INVITES, {"Deprecation": "true", "Sunset": "soon"})
    assert state.info("g").to_wire() == {
        "api": "Invites",
        "deprecatedSince": "2023-10-04T00:00:00Z",
        "sunset": "2027-07-01T00:00:00Z",
    }
    state.over("g", GONE)
    assert state.info("g").to_wire() == {"api": "Users"}


def test_only_the_invites_api_announces_its_end() -> None:
    """The header of another API's response is not about this one."""
    state = sunset()
    state.learn(Operation.LIST_USERS, HEADERS)
    assert state.info("g").to_wire() == {"api": "Invites"}
