"""Which e-mail addresses a spec may have, and which e-mails are equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas_invites.invitation.email import email_fault, email_key, same_email
from tests.unit.builders import EMAIL, INVITATION_ID
from tests.unit.emails import BAD, GOOD, TOO_LONG

SAME = [
    (EMAIL, "JANE@Example.Com"),
    ("jane@bücher.example", "jane@xn--bcher-kva.example"),
    ("Jane@BÜCHER.example", "jane@XN--BCHER-KVA.example"),
    ("jane@bu\u0308cher.example", "jane@bücher.example"),
    ("jos\u00e9@example.com", "JOSE\u0301@example.com"),
    ("jos\u00e9@b\u00fccher.example", "jose\u0301@xn--bcher-kva.example"),
    ("jane@пример.рф", "jane@xn--e1afmkfd.xn--p1ai"),
]
OTHERS = [
    (EMAIL, "joe@example.com"),
    ("josé@example.com", "jose@example.com"),
    ("jane@bücher.example", "jane@bucher.example"),
]
REFUSED_BY_IDNA = [
    "jane@☃.example",
    "jane@b\u00fccher..example",
    "jane@\u00fc_b.example",
    "jane@-\u00fc.example",
    "jane@" + "\u00fc" * 300 + ".example",
    "jane@\u00fc\ud800.example",
    "jane@xn--bcher-kva.xn--zz\u00fc",
    "\u00fc@",
]


@pytest.mark.parametrize("email", GOOD.values(), ids=GOOD)
def test_what_is_accepted(email: str) -> None:
    """Plus addressing, apostrophes and every other sign, upper case, letters and domains of any language."""
    assert email_fault(email) is None


@pytest.mark.parametrize(
    ("email", "rule"), [*BAD.values(), (TOO_LONG, "must have at most 254 characters")], ids=[*BAD, "too long"]
)
def test_what_is_rejected(email: str, rule: str) -> None:
    """An address that was pasted with other characters is rejected, and the message states the rule."""
    assert (email_fault(email) or "").startswith(rule)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_email_in_another_form(one: str, other: str) -> None:
    """Case, the form of an accent and the form of the domain make no difference."""
    assert same_email(one, other)


@pytest.mark.parametrize(("one", "other"), [*OTHERS, (EMAIL, None), (None, EMAIL), (None, None)])
def test_another_email(one: str | None, other: str | None) -> None:
    """An accent makes a difference, and an unknown e-mail equals no other."""
    assert not same_email(one, other)


@pytest.mark.parametrize("email", REFUSED_BY_IDNA)
def test_a_domain_that_idna_does_not_allow_is_kept(email: str) -> None:
    """It is compared in lower case."""
    assert email_key(email) == email
    assert same_email(email, email.upper())


def test_an_id_is_its_own_key() -> None:
    """Claims and snapshots use the same maps for ids and e-mails."""
    assert email_key(INVITATION_ID) == INVITATION_ID


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_the_key_of_a_key_is_itself(local: str, domain: str) -> None:
    """Any text has a key."""
    key = email_key(f"{local}@{domain}")
    assert email_key(key) == key
