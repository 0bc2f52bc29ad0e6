"""Which e-mail addresses a spec may have, and how e-mails are compared. Neither changes the stored e-mail."""

from __future__ import annotations

import re
from functools import lru_cache
from unicodedata import category, normalize

import idna

_INVISIBLE_LETTER = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Invisible letters and marks (Unicode: Default_Ignorable_Code_Point)."""

_BROKEN: dict[str, str] = {
    "must have at most 254 characters": r".{255}",
    "must not have spaces or invisible characters (no-break and zero-width spaces, direction marks, soft hyphens, "
    "control characters): type the address instead of pasting it": r" ",
    "must be one e-mail address such as jane@example.com: one '@', and a dot after it": r"^(?![^@]+@[^@]*\.[^@]*$)",
    "must have only letters, digits, dots and ! # $ % & ' * + - / = ? ^ _ ` { | } ~ before the '@'": (
        r"^[^@]*[^@a-zA-Z0-9.!#$%&'*+/=?^_`{|}~ -]"
    ),
    "must have only letters, digits, dots and hyphens after the '@'": (
        r"@.*[^@a-zA-Z0-9.\u00b7\u0375\u05f3\u05f4\u30fb -]"  # and the signs that IDNA allows (RFC 5892, CONTEXTO)
    ),
    "must not have a dot at either end, beside the '@' or beside another dot": r"^\.|\.\.|\.@|@\.|\.$",
    "must have at most 64 characters before the '@'": r"^[^@]{65}",
}
_RULES = {words: re.compile(broken) for words, broken in _BROKEN.items()}
"""The rules of spec.username, which are also in the CRD. A rule is broken if its pattern is found in the outline."""


def email_fault(email: str) -> str | None:
    """Return the rule that an e-mail address in a spec breaks, or None. The text does not repeat the address."""
    outline = re.sub(r"[^!-~]", _outline, email)
    return next((words for words, broken in _RULES.items() if broken.search(outline)), None)


@lru_cache(maxsize=1024)
def email_key(email: str) -> str:
    """Return the form in which e-mails are compared: NFC, lower case, the domain in IDNA form.

    A domain that IDNA does not allow stays in lower case. A key and an id of Atlas are their own keys.
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
    """Return whether both are the same e-mail. An unknown e-mail is never the same as another one."""
    return one is not None and other is not None and email_key(one) == email_key(other)


def _outline(found: re.Match[str]) -> str:
    """Return ``a`` for a letter, mark or number of any language, a space for an invisible character, else itself."""
    character = found[0]
    kind = category(character)[0]
    if kind in "ZC" or _INVISIBLE_LETTER.match(character):
        return " "
    return "a" if kind in "LMN" else character
