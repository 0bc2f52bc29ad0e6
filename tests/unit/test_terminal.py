"""What a command prints on standard error."""

from __future__ import annotations

import re

import pytest

from atlas_invites.atlas import errors
from atlas_invites.atlas.errors import AtlasFailure, Gone
from atlas_invites.invitation.model import ErrorBody, Operation
from atlas_invites.terminal import explained, print_error

OF_A_LIST = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AtlasFailure) and kind not in {AtlasFailure, Gone}
]
"""All failures of a call; ``Gone`` is about a single invitation."""


@pytest.mark.parametrize("kind", OF_A_LIST)
def test_the_message_is_for_the_user_of_the_command(kind: type[AtlasFailure]) -> None:
    """It has the call, its result and Atlas's message; nothing in it is about an operator or its objects."""
    body = ErrorBody(error=403, errorCode="X", detail="Not now.")
    message = explained(kind(Operation.LIST_INVITES, "403 X", error=body))
    assert "(ListInvites: 403 X)." in message
    assert " Atlas says: Not now. " in message
    assert message.endswith(".")
    assert not re.search(r"automatic|Secret\b|operator|object|status|spec\b|reconcile|look", message)


def test_an_error_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """What a manifest contains cannot change the colors or the title of the terminal."""
    print_error("two\nlines, \x1b[31mred\x07 and é")
    assert capsys.readouterr().err == "atlas-invites: two lines, ?[31mred? and é\n"
