"""What describes the phantom: probes, operators, annotators, sites and the size of the cohort.

Every device number is a modelling assumption chosen to give pictures of the right kind. None is a maker's
specification, and the presets are named `..._like` for that reason.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossprobe.phantom import presets
from crossprobe.phantom.severity import interpolate

View = Literal["dorsal", "proximal_dorsal", "radial", "volar", "proximal_volar"]
SiteName = Literal["source", "target", "unseen"]
Range = tuple[float, float]


class Frozen(BaseModel):
    """Settings that cannot be misspelt or changed in place."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ProbeSettings(Frozen):
    """One ultrasound probe and its scanner, as image formation sees them (assumptions, not data sheets)."""

    name: str = Field(description="Device name written to the metadata.")
    display: presets.Display = Field(description="Whose screen layout, text and logo surround the image.")
    centre_mhz: float = Field(ge=1, le=30, description="Centre frequency.")
    fractional_bandwidth: float = Field(gt=0.05, le=1.2, description="-6 dB bandwidth over centre frequency.")
    width_mm: float = Field(ge=10, le=80, description="Width of the linear aperture and of the image.")
    depth_mm: Range = Field(description="Range from which the operator sets the depth of a video.")
    lateral_sigma_mm: float = Field(gt=0.05, le=3, description="Lateral point-spread sigma at the focus.")
    elevation_sigma_mm: float = Field(gt=0.05, le=4, description="Slice-thickness sigma at the focus.")
    focus_mm: float = Field(gt=0, le=80, description="Depth of the transmit focus.")
    depth_of_field_mm: float = Field(gt=1, le=80, description="From the focus to where sigma grows by 41 %.")
    compounding: int = Field(ge=1, le=9, description="Steered looks averaged into a frame.")
    compounding_span_deg: float = Field(ge=0, le=30, description="Angle between the outermost looks.")
    persistence: float = Field(ge=0, lt=1, description="Weight of the previous frame in what is shown.")
    dynamic_range_db: float = Field(ge=20, le=100, description="Range from black to white.")
    noise_db: float = Field(ge=-100, le=-15, description="Electronic noise below full scale, mid depth.")
    noise_slope_db: float = Field(ge=0, le=40, description="Rise of the noise from skin to full depth.")
    attenuation_error_db: float = Field(ge=-30, le=30, description="What TGC leaves over at full depth.")
    tgc_ripple: float = Field(ge=0, lt=0.9, description="Relative amplitude of the wavy TGC error.")
    edge_loss: float = Field(ge=0, lt=1, description="Relative amplitude lost at the ends of the aperture.")
    shadow_db: float = Field(ge=-80, le=0, description="What still comes from under bone.")
    reverberation_db: float = Field(ge=-80, le=0, description="First bone multiple against the bone echo.")
    skin_multiple_db: float = Field(ge=-80, le=0, description="First skin multiple against the skin line.")
    speckle_filter: float = Field(ge=0, le=1, description="Weight of the scanner's speckle smoothing.")
    grey_gamma: float = Field(gt=0.2, le=4, description="Exponent of the grey map (1 is linear in dB).")
    grey_contrast: float = Field(ge=0, le=1, description="Weight of an S-shaped curve in the grey map.")
    frames_per_s: float = Field(gt=1, le=120, description="Frame rate of the recorded video.")

    @model_validator(mode="after")
    def _check_depth(self) -> Self:
        low, high = self.depth_mm
        if not 15 <= low <= high <= 80:
            raise ValueError(f"depth_mm {self.depth_mm} of {self.name}: expected 15 <= low <= high <= 80")
        return self


class OperatorSettings(Frozen):
    """How the probe is held and moved: steady for an expert, jittery for a novice."""

    names: tuple[str, ...] = Field(min_length=1, description="Operators, drawn per patient.")
    mm_per_frame: Range = Field(description="Elevational step between frames, drawn anew for every frame.")
    drift_mm: float = Field(ge=0, le=3, description="Sd of the lateral wander over a sweep.")
    pressure_mm: float = Field(ge=0, le=3, description="Sd of the axial wander over a sweep.")
    tilt_deg: float = Field(ge=0, le=20, description="Sd of the in-plane angle between probe and bone.")
    offset_mm: float = Field(ge=0, le=15, description="Sd of the lateral placement of the probe.")
    gain_db: float = Field(ge=0, le=15, description="Sd of the overall gain the operator leaves set.")
    coupling_loss_db: float = Field(ge=0, le=40, description="Mean loss where one end lifts off the skin.")
    coupling_width_mm: float = Field(ge=0, le=30, description="Mean width of the end without contact.")
    coupling_patch_db: float = Field(ge=0, le=15, description="Sd of the patchy loss under bubbles and hair.")


class AnnotatorSettings(Frozen):
    """How the outline that counts as a label departs from the true bony surface band."""

    every: int = Field(ge=1, le=64, description="One frame in this many is outlined.")
    wobble_mm: float = Field(ge=0, le=2, description="Sd of the hand's wander along the outline.")
    wobble_length_mm: float = Field(gt=0, le=30, description="Length over which that wander stays alike.")
    shift_mm: float = Field(ge=-3, le=3, description="Bias of the whole outline, positive is deeper.")
    shift_sd_mm: float = Field(ge=0, le=2, description="Sd of that bias from video to video.")
    thickness: float = Field(gt=0.2, le=4, description="Drawn over true band thickness.")
    thickness_sd: float = Field(ge=0, le=1, description="Relative sd of that ratio from video to video.")
    end_trim_mm: float = Field(ge=0, le=10, description="Cut off at each end of a bone, where it fades.")
    smoothing_mm: float = Field(ge=0, le=10, description="Detail rounded off: steps, gaps, edges.")
    missed_bone: float = Field(ge=0, le=1, description="Chance that a bone beyond the radius is left out.")


class SiteSettings(Frozen):
    """One hospital: its probe, its people and how many patients it scanned."""

    probe: ProbeSettings = Field(description="The device; a preset name is accepted too.")
    operator: OperatorSettings = Field(description="The people who scan.")
    annotator: AnnotatorSettings = Field(description="The person who outlines.")
    views: tuple[View, ...] = Field(min_length=1, description="Views a video may show.")
    patients: int = Field(ge=2, le=2000, description="Patients before `scale`.")
    videos_per_patient: tuple[int, int] = Field(description="Fewest and most videos of a patient.")
    frames_per_video: int = Field(ge=2, le=500, description="Frames of each video.")
    dicom_share: float = Field(ge=0, le=1, description="Share of videos written as multi-frame DICOM.")
    container: Literal["mp4", "avi"] = Field(description="What the other videos are written as.")

    @model_validator(mode="before")
    @classmethod
    def _name_to_probe(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("probe"), str):
            name = values["probe"]
            if name not in presets.PROBES:
                raise ValueError(f"unknown probe {name!r}; expected one of {sorted(presets.PROBES)}")
            return {**values, "probe": presets.PROBES[name]}
        return values

    @model_validator(mode="after")
    def _check_videos(self) -> Self:
        low, high = self.videos_per_patient
        if not 1 <= low <= high <= len(self.views):
            raise ValueError(
                f"videos_per_patient {self.videos_per_patient}: expected 1 <= low <= high <= "
                f"{len(self.views)}, the number of views"
            )
        return self


class AnatomySettings(Frozen):
    """The population of wrists, alike at every site, so that the shift is the device's and the people's."""

    fracture_share: float = Field(0.5, ge=0, le=1, description="Share of patients with a fracture.")
    skin_mm: Range = Field((1.1, 1.8), description="Skin thickness.")
    fat_mm: Range = Field((1.6, 5.0), description="Subcutaneous fat thickness.")
    tendon_mm: Range = Field((2.4, 4.2), description="Tendon thickness.")
    muscle_mm: Range = Field((2.5, 5.5), description="Muscle over the volar radius.")
    physis_gap_mm: Range = Field((1.2, 2.4), description="Width of the open growth plate at the surface.")
    step_mm: Range = Field((0.9, 2.2), description="Height of a cortical step.")
    buckle_mm: Range = Field((1.1, 2.4), description="Height of a torus (buckle) bulge.")
    gap_mm: Range = Field((1.2, 2.4), description="Width of a cortical gap.")
    band_above_mm: float = Field(0.35, ge=0, le=3, description="Mask above the bony surface.")
    band_below_mm: float = Field(0.95, ge=0.1, le=4, description="Mask below the bony surface.")
    cortex_db: float = Field(0.0, ge=-30, le=20, description="Cortex echo at normal incidence, full scale 0.")
    cortex_specular_deg: float = Field(9.0, gt=1, le=45, description="Angle at which cortex falls to .61.")
    cortex_rough_db: float = Field(-15.0, ge=-60, le=0, description="Cortex echo that no angle removes.")
    cortex_patch_db: float = Field(3.0, ge=0, le=12, description="Sd of the cortex echo along the bone.")
    fascia_db: float = Field(-7.0, ge=-40, le=10, description="Fascia echo at normal incidence.")


class PhantomSettings(Frozen):
    """Everything that decides what the phantom looks like; the same settings give the same pixels.

    A site may be given in part: what is left out keeps the value of its preset, so `{"target": {"patients":
    6}}` is enough to make the target smaller.
    """

    seed: int = Field(2026, ge=0, description="Root of every random number.")
    scale: float = Field(1.0, gt=0, le=50, description="Multiplies the number of patients of every site.")
    severity: float = Field(1.0, ge=0, le=1, description="Device shift: 0 none, 1 the presets' whole shift.")
    frame_height_px: int = Field(320, ge=160, le=2160, description="Height of the recorded screen.")
    frame_width_px: int = Field(400, ge=200, le=3840, description="Width of the recorded screen.")
    anatomy: AnatomySettings = Field(default_factory=AnatomySettings, description="The population.")
    source: SiteSettings = Field(default_factory=lambda: SiteSettings(**presets.SITES["source"]))
    target: SiteSettings = Field(default_factory=lambda: SiteSettings(**presets.SITES["target"]))
    unseen: SiteSettings = Field(default_factory=lambda: SiteSettings(**presets.SITES["unseen"]))

    @model_validator(mode="before")
    @classmethod
    def _complete_sites(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        for name, preset in presets.SITES.items():
            if isinstance(filled.get(name), dict):
                filled[name] = _merged(preset, filled[name])
        return filled

    def site(self, name: SiteName) -> SiteSettings:
        """Gives a site as it is simulated: with `severity` and `scale` applied.

        Severity moves every number of the probe, the operator and the annotator linearly from the source's to
        the site's own; at 0 all three equal the source's. Labels stay as rare as the site has them.

        Args:
            name: Which site.

        Returns:
            The effective settings; `patients` is at least 2.
        """
        own = getattr(self, name)
        patients = max(2, round(own.patients * self.scale))
        if name == "source":
            return own.model_copy(update={"patients": patients})
        parts = {
            part: interpolate(getattr(self.source, part), getattr(own, part), self.severity)
            for part in ("probe", "operator", "annotator")
        }
        parts["annotator"] = parts["annotator"].model_copy(update={"every": own.annotator.every})
        return own.model_copy(update={**parts, "patients": patients})


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Lays `change` over `base`, going into dictionaries."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged
