"""The phantom's hardness was tuned once, with three arms only, and then frozen; this is what was frozen."""

from __future__ import annotations

from crossprobe.data.fingerprint import fingerprint
from crossprobe.phantom.settings import PhantomSettings

FROZEN = "9a968c84da4e0036e834c11b82ea2ae47039f1cead012661af62f3d8df470c89"


def test_the_default_phantom_is_the_frozen_one():
    """If this fails, results on the old phantom no longer count: tune, freeze and run everything again."""
    assert fingerprint(PhantomSettings()) == FROZEN
