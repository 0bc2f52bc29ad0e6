"""How e-mails are compared. What a user wrote and what Atlas sent stay as they are."""

from __future__ import annotations

from unicodedata import normalize

import idna


def email_key(email: str) -> str:
    """Return the form in which e-mails are compared: NFC, lower case, the domain in IDNA form.

    A domain that IDNA does not allow stays in lower case. The key of a key, or of an id of Atlas, is itself.
    """
    if email.isascii():
        return email.lower()
    email = normalize("NFC", normalize("NFC", email).lower())
    local, at, domain = email.rpartition("@")
    if domain.isascii():
        return email
    try:
        return f"{local}{at}{idna.encode(domain, uts46=True).decode()}"
    except ValueError:
        return email


def same_email(one: str | None, other: str | None) -> bool:
    """Return whether both are the same e-mail. An e-mail that is not known is like no other."""
    return one is not None and other is not None and email_key(one) == email_key(other)
