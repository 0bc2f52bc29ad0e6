"""The settings of a sandbox as JSON: latency, undocumented behavior, list lag, the end of the Invites API."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from atlas_sandbox.fields import ControlError, Fields
from atlas_sandbox.model import ROLE
from atlas_sandbox.project import Lag
from atlas_sandbox.sandbox import Sunset
from atlas_sandbox.state import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_sandbox.sandbox import Sandbox


def show(sandbox: Sandbox) -> dict[str, object]:
    """Return every setting."""
    lag, sunset, rules = sandbox.state.lag, sandbox.sunset, sandbox.state.rules
    return {
        "addedRoles": list(rules.added_roles),
        "droppedRoles": sorted(rules.dropped_roles),
        "duplicateInvite": rules.duplicate_invite,
        "envelopeKeepsStatus": sandbox.envelope_keeps_status,
        "latencySeconds": sandbox.latency,
        "listLag": {"calls": lag.calls, "filtered": lag.filtered, "seconds": lag.seconds},
        "memberInvite": rules.member_invite,
        "missingRights": rules.missing_rights,
        "nonceSeconds": sandbox.auth.digest.lifetime,
        "sunset": {"day": sunset.day.isoformat(), "mode": sunset.mode},
        "tokenSeconds": sandbox.auth.tokens.lifetime,
        "unknownRoles": sorted(rules.unknown_roles),
    }


def change(sandbox: Sandbox, body: object) -> None:
    """Change the settings that the body names.

    Raises:
        ControlError: the body is invalid; nothing changed.
    """
    fields = Fields(body)
    rules = _rules(fields, sandbox.state.rules)
    keeps = fields.flag("envelopeKeepsStatus", default=sandbox.envelope_keeps_status)
    latency = fields.number("latencySeconds", sandbox.latency)
    lag = _lag(fields.inner("listLag"), sandbox.state.lag)
    sunset = _sunset(fields.inner("sunset"), sandbox.sunset)
    nonce_seconds = fields.number("nonceSeconds", sandbox.auth.digest.lifetime)
    token_seconds = fields.integer("tokenSeconds", sandbox.auth.tokens.lifetime)
    fields.done()
    sandbox.state.rules, sandbox.envelope_keeps_status, sandbox.latency = rules, keeps, latency
    sandbox.sunset, sandbox.auth.digest.lifetime, sandbox.auth.tokens.lifetime = sunset, nonce_seconds, token_seconds
    sandbox.state.set_lag(lag)


def _rules(fields: Fields, before: Rules) -> Rules:
    return Rules(
        fields.choice("duplicateInvite", ("same", "new", "reject", "conflict"), before.duplicate_invite),
        fields.choice("memberInvite", ("active", "pending"), before.member_invite),
        fields.choice("missingRights", ("named", "unauthorized"), before.missing_rights),
        frozenset(_roles(fields, "droppedRoles", before.dropped_roles)),
        tuple(_roles(fields, "addedRoles", before.added_roles)),
        frozenset(_roles(fields, "unknownRoles", before.unknown_roles)),
    )


def _roles(fields: Fields, name: str, before: Iterable[str]) -> list[str]:
    roles = fields.texts(name, tuple(before))
    unknown = [role for role in roles if ROLE.fullmatch(role) is None]
    if unknown:
        raise ControlError(f"{name}: {unknown[0]} is not a project role")
    return roles


def _lag(fields: Fields, before: Lag) -> Lag:
    lag = Lag(
        fields.number("seconds", before.seconds),
        fields.integer("calls", before.calls),
        fields.flag("filtered", default=before.filtered),
    )
    fields.done()
    return lag


def _sunset(fields: Fields, before: Sunset) -> Sunset:
    day = fields.text("day", before.day.isoformat())
    mode = fields.choice("mode", ("off", "on", "clock"), before.mode)
    fields.done()
    try:
        return Sunset(mode, date.fromisoformat(day))
    except ValueError as error:
        raise ControlError(f"{day} is not a date in ISO 8601") from error
