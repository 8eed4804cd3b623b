from __future__ import annotations

import pytest

from crossprobe.data.pseudonym import pseudonym, redact
from crossprobe.errors import InvalidMetadata

SALT = "a salt for tests"


def test_a_name_always_gets_the_same_id_and_never_shows():
    first = pseudonym("patient", "Jane Doe", SALT)
    assert first == pseudonym("patient", "Jane Doe", SALT)
    assert first.startswith("p_")
    assert len(first) == 14
    assert "jane" not in first.lower()


def test_known_value_so_that_ids_outlive_a_release():
    # printf 'patient\0Jane Doe' | openssl dgst -sha256 -hmac 'a salt for tests'
    assert pseudonym("patient", "Jane Doe", SALT) == "p_ee965aad48c8"


def test_kind_name_and_salt_all_count():
    ids = {
        pseudonym("patient", "A", SALT)[2:],
        pseudonym("operator", "A", SALT)[2:],
        pseudonym("video", "A", SALT)[2:],
        pseudonym("patient", "B", SALT)[2:],
        pseudonym("patient", "A", SALT + "!")[2:],
    }
    assert len(ids) == 5


def test_unknown_stays_unknown():
    assert pseudonym("operator", "unknown", SALT) == "unknown"


def test_a_short_salt_is_refused():
    with pytest.raises(InvalidMetadata, match="salt has 3 characters"):
        pseudonym("patient", "A", "abc")


def test_names_leave_file_names():
    clean = redact("videos/DOE_jane.mp4", ["Doe", "x"], "patient", SALT)
    assert clean == f"videos/{pseudonym('patient', 'Doe', SALT)}_jane.mp4"
