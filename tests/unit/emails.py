"""Valid and invalid e-mail addresses of a spec: for the CRD and for the operator's own model."""

from __future__ import annotations

_SHAPE = "must be one e-mail address such as jane@example.com"
_INVISIBLE = "must not have spaces or invisible characters"
_LOCAL = "must have only letters, digits, dots and ! # $ % & ' * + - / = ? ^ _ ` { | } ~ before the '@'"
_DOMAIN = "must have only letters, digits, dots and hyphens after the '@'"
_DOTS = "must not have a dot at either end, beside the '@' or beside another dot"
_LONG_LOCAL = "must have at most 64 characters before the '@'"

LOCAL_SIGNS = "!#$%&'*+-/=?^_`{|}~"

GOOD: dict[str, str] = {
    "plain": "jane@example.com",
    "one letter": "j@e.x",
    "plus": "jane+atlas@example.com",
    "apostrophe": "o'neil@example.com",
    "upper case": "Jane.Doe@Example.COM",
    "digits": "2026@365.example",
    "many domains": "jane@a.b-c.example.co.uk",
    "letters of a language": "zoë@example.com",
    "letters of another script": "用户@例子.公司",
    "a domain of letters": "jane@bücher.example",
    "a domain in IDNA form": "jane@xn--bcher-kva.example",
    "an accent in two characters": "jose\u0301@bu\u0308cher.example",
    "vowels as combining marks": "संपर्क@डाटामेल.भारत",
    "right to left": "دعم@مثال.موقع",
    "digits of another script": "١٢٣@example.com",
    "a domain with a middle dot": "jane@paral\u00b7lel.example",
    "a domain with a katakana middle dot": "jane@カ\u30fbカ.example",
    "64 characters before the @": "j" * 64 + "@example.com",
    "64 letters of a language before the @": "é" * 64 + "@example.com",
    "254 characters": "j" * 64 + "@" + "e" * 185 + ".com",
    **{f"the sign {sign}": f"jane{sign}doe@example.com" for sign in LOCAL_SIGNS},
    **{f"the sign {sign} first": f"{sign}jane@example.com" for sign in LOCAL_SIGNS},
}

BAD: dict[str, tuple[str, str]] = {
    "empty": ("", _SHAPE),
    "a name": ("jane", _SHAPE),
    "no name": ("@example.com", _SHAPE),
    "no domain": ("jane@", _SHAPE),
    "a domain without a dot": ("jane@example", _SHAPE),
    "two @": ("jane@doe@example.com", _SHAPE),
    "two addresses": ("jane@example.com,joe@example.com", _SHAPE),
    "a blank within": ("jane doe@example.com", _INVISIBLE),
    "a blank first": (" jane@example.com", _INVISIBLE),
    "a blank last": ("jane@example.com ", _INVISIBLE),
    "two addresses and a blank": ("jane@example.com joe@example.com", _INVISIBLE),
    **{
        f"{name} {where}": (address.format(character), _INVISIBLE)
        for name, character in {
            "a tab": "\t",
            "a line feed": "\n",
            "a carriage return": "\r",
            "a vertical tab": "\v",
            "an escape": "\x1b",
            "a delete": "\x7f",
            "a control character of C1": "\x85",
            "a no-break space": "\u00a0",
            "a narrow no-break space": "\u202f",
            "an en space": "\u2002",
            "an ideographic space": "\u3000",
            "a line separator": "\u2028",
            "a paragraph separator": "\u2029",
            "a zero-width space": "\u200b",
            "a zero-width non-joiner": "\u200c",
            "a zero-width joiner": "\u200d",
            "a word joiner": "\u2060",
            "a byte order mark": "\ufeff",
            "a left-to-right mark": "\u200e",
            "a right-to-left mark": "\u200f",
            "an Arabic letter mark": "\u061c",
            "a left-to-right embedding": "\u202a",
            "a pop directional isolate": "\u2069",
            "a soft hyphen": "\u00ad",
            "a tag": "\U000e0041",
            "a private character": "\ue000",
            "a Hangul filler": "\u3164",
            "a variation selector": "\ufe0f",
            "a combining grapheme joiner": "\u034f",
        }.items()
        for where, address in {
            "first": "{}jane@example.com",
            "before the @": "jane{}@example.com",
            "in the domain": "jane@exam{}ple.com",
            "last": "jane@example.com{}",
        }.items()
    },
    "mailto": ("mailto:jane@example.com", _LOCAL),
    "in angle brackets": ("<jane@example.com>", _LOCAL),
    "with a name": ("Jane<jane@example.com>", _LOCAL),
    "in parentheses": ("(jane@example.com)", _LOCAL),
    "in square brackets": ("[jane@example.com]", _LOCAL),
    "in quotes": ('"jane@example.com"', _LOCAL),
    "in typographic quotes": ("“jane@example.com”", _LOCAL),
    "in guillemets": ("«jane@example.com»", _LOCAL),
    "a quoted name": ('"jane"@example.com', _LOCAL),
    "a typographic apostrophe": ("o\u2019neil@example.com", _LOCAL),
    "a comma first": (",jane@example.com", _LOCAL),
    "a semicolon within": ("jane;doe@example.com", _LOCAL),
    "a backslash": ("jane\\doe@example.com", _LOCAL),
    "a wide comma": ("jane\uff0cdoe@example.com", _LOCAL),
    "a picture": ("jane😀@example.com", _LOCAL),
    **{
        f"{sign} last": (f"jane@example.com{sign}", _DOMAIN) for sign in ",;:<>()[]\"\\!?'*/|}_\uff0c\uff1b\u3002\u201d"
    },
    "an address of the network": ("jane@[192.0.2.1]", _DOMAIN),
    "a port": ("jane@example.com:25", _DOMAIN),
    "a link's subject": ("jane@example.com?subject=hello", _DOMAIN),
    "a dot first": (".jane@example.com", _DOTS),
    "a dot before the @": ("jane.@example.com", _DOTS),
    "two dots before the @": ("jane..doe@example.com", _DOTS),
    "a dot after the @": ("jane@.example.com", _DOTS),
    "two dots after the @": ("jane@example..com", _DOTS),
    "a dot last": ("jane@example.com.", _DOTS),
    "three dots last": ("jane@example.com...", _DOTS),
    "65 characters before the @": ("j" * 65 + "@example.com", _LONG_LOCAL),
    "65 letters of a language before the @": ("é" * 65 + "@example.com", _LONG_LOCAL),
}
"""The address, and the message about it. For an address that is too long, the API server uses its own text."""

TOO_LONG = "j" * 64 + "@" + "e" * 186 + ".com"
