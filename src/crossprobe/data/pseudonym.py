"""Salted hashes that stand for patients, operators and videos, so that no original name ever passes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Literal

from crossprobe.errors import InvalidMetadata

Kind = Literal["patient", "operator", "video"]
PREFIXES: dict[str, str] = {"patient": "p_", "operator": "o_", "video": "v_"}
# 48 bits: among 100,000 names two collide with probability 2e-5, and the source readers check for it.
HEX_DIGITS = 12
SHORTEST_SALT = 8


def pseudonym(kind: Kind, name: str, salt: str) -> str:
    """Gives the id that stands for a name: the same name, kind and salt always give the same id.

    The id is an HMAC-SHA256 of kind and name under the salt, cut to 12 hex digits. Without the salt nobody
    can find a name by hashing a list of candidates. Both sites must use one salt for
    `crossprobe.data.leakage.audit_sites` to notice a patient who was scanned at both.

    Args:
        kind: What is named; the same name as patient and as operator gives two unlike ids.
        name: The original name or number.
        salt: The project's secret, at least 8 characters.

    Returns:
        `p_`, `o_` or `v_` and 12 hex digits; `unknown` stays `unknown`.

    Raises:
        InvalidMetadata: The salt is too short to protect anything.
    """
    if len(salt) < SHORTEST_SALT:
        raise InvalidMetadata(
            f"the pseudonym salt has {len(salt)} characters; give at least {SHORTEST_SALT} and keep it secret"
        )
    if name == "unknown":
        return name
    digest = hmac.new(salt.encode(), f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()
    return PREFIXES[kind] + digest[:HEX_DIGITS]


def crossing_mark(pseudonym_of_patient: str, salt: str) -> str:
    """Gives what stands for a patient where sites compare their lists on a server.

    Whoever keeps the server can match it with nothing else: in no table and no report is there such a mark.

    Args:
        pseudonym_of_patient: From `pseudonym`.
        salt: The same at both sites.

    Returns:
        32 hex digits of HMAC-SHA256.
    """
    message = f"crossing\0{pseudonym_of_patient}".encode()
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:32]


def redact(text: str, names: Iterable[str], kind: Kind, salt: str) -> str:
    """Replaces each name that occurs in a text (a file name, say) by its pseudonym.

    Args:
        text: What may hold names.
        names: Original names; those under three characters are left, since they would hit by chance.
        kind: What the names name.
        salt: As in `pseudonym`.

    Returns:
        The text without the names.
    """
    for name in sorted(set(names), key=len, reverse=True):
        if len(name) >= 3:
            text = re.sub(re.escape(name), pseudonym(kind, name, salt), text, flags=re.IGNORECASE)
    return text
