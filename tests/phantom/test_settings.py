from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crossprobe.phantom import presets
from crossprobe.phantom.settings import PhantomSettings, ProbeSettings, SiteSettings


@pytest.mark.parametrize("site", ["target", "unseen"])
def test_no_severity_is_no_shift(site):
    settings = PhantomSettings(severity=0.0)
    source, other = settings.site("source"), settings.site(site)
    assert other.probe == source.probe
    assert other.operator == source.operator
    assert other.annotator.model_copy(update={"every": 1}) == source.annotator


def test_full_severity_is_the_preset():
    settings = PhantomSettings(severity=1.0)
    assert settings.site("target").probe == ProbeSettings(**presets.PROBES["micrus_like"])


@given(severity=st.floats(0.0, 1.0))
def test_every_number_of_a_probe_lies_between_the_two(severity):
    settings = PhantomSettings(severity=severity)
    low, high = settings.source.probe, settings.target.probe
    probe = settings.site("target").probe
    for name in ProbeSettings.model_fields:
        values = [getattr(item, name) for item in (low, probe, high)]
        if isinstance(values[0], (int, float)):
            assert min(values[0], values[2]) - 1e-9 <= values[1] <= max(values[0], values[2]) + 1e-9, name


def test_labels_stay_rare_without_shift():
    assert PhantomSettings(severity=0.0).site("target").annotator.every == 8


def test_a_site_may_be_given_in_part():
    settings = PhantomSettings.model_validate({"target": {"patients": 4, "probe": {"noise_db": -40.0}}})
    assert settings.target.patients == 4
    assert settings.target.probe.noise_db == -40.0
    assert settings.target.probe.centre_mhz == 6.8
    assert settings.source == PhantomSettings().source


def test_a_probe_may_be_named():
    settings = PhantomSettings.model_validate({"target": {"probe": "unseen_like"}})
    assert settings.target.probe.name == "unseen_like"
    with pytest.raises(ValidationError, match="unknown probe 'nobody'"):
        SiteSettings(**{**presets.SITES["target"], "probe": "nobody"})


@pytest.mark.parametrize(
    "values",
    [
        {"sed": 1},
        {"target": {"patient": 3}},
        {"severity": 1.5},
        {"source": {"videos_per_patient": (2, 9)}},
        {"source": {"probe": {"depth_mm": (40.0, 20.0)}}},
    ],
)
def test_wrong_settings_are_refused(values):
    with pytest.raises(ValidationError):
        PhantomSettings.model_validate(values)


def test_scale_multiplies_patients():
    assert PhantomSettings(scale=0.5).site("source").patients == PhantomSettings().source.patients // 2
    assert PhantomSettings(scale=0.001).site("source").patients == 2


def test_settings_survive_json():
    settings = PhantomSettings(severity=0.3, target={"patients": 5})
    assert PhantomSettings.model_validate_json(settings.model_dump_json()) == settings


def test_settings_import_nothing_heavy():
    code = (
        "import sys, crossprobe.phantom.settings; "
        "print([m for m in ('torch', 'scipy', 'cv2', 'pandas') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
