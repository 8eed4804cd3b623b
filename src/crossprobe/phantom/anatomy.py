"""One wrist under one view: tissue layers, bony surface and interfaces as depths over the skin plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from crossprobe.phantom.bone import BoneShape, Fracture, FractureKind, bone_surface
from crossprobe.phantom.settings import AnatomySettings, View
from crossprobe.phantom.sweep import SweepPlan

GRID_X_MM = 0.08
GRID_Y_MM = 0.25


@dataclass(frozen=True)
class Patient:
    """What one patient brings to every view; lengths in mm."""

    size: float
    skin: float
    fat: float
    tendon: float
    muscle: float
    physis_gap: float
    fracture: Fracture


@dataclass(frozen=True)
class ViewRecipe:
    """Where the growth plate lies in the image and what covers the bone, per view."""

    physis_x_mm: float
    tendon: float
    muscle: float
    slope: float
    cross_radius_mm: float
    artery: bool


RECIPES: dict[str, ViewRecipe] = {
    "dorsal": ViewRecipe(3.0, 1.0, 0.0, 0.00, 22.0, False),
    "proximal_dorsal": ViewRecipe(12.0, 0.9, 0.35, -0.03, 26.0, False),
    "radial": ViewRecipe(4.0, 0.6, 0.0, -0.09, 13.0, True),
    "volar": ViewRecipe(4.5, 1.1, 0.8, 0.05, 18.0, False),
    "proximal_volar": ViewRecipe(12.5, 1.0, 1.1, 0.02, 22.0, False),
}


@dataclass(frozen=True)
class Interface:
    """A thin layer that mirrors: depth in mm [Y, X] (NaN: absent), strength in dB [Y, X], slopes per mm."""

    depth: np.ndarray
    strength_db: np.ndarray
    slope_x: np.ndarray
    slope_y: np.ndarray


@dataclass(frozen=True)
class Anatomy:
    """Everything one sweep can see, on a grid of the skin plane; `x` [X] and `y` [Y] in mm.

    `skin`, `fascia`, `tendon_bottom` and `bone` are depths in mm below the probe face, float32 [Y, X]; `bone`
    is NaN where none faces the probe, and `roof` is bone with its gaps bridged. `bone_id` is int8 [Y, X].
    `standoff` is the gel's thickness in mm. `haematoma` is 0 to 1 [Y, X], `artery` an (x, depth, radius)
    triple or None.
    """

    x: np.ndarray
    y: np.ndarray
    standoff: float
    skin: np.ndarray
    fascia: np.ndarray
    tendon_bottom: np.ndarray
    bone: np.ndarray
    roof: np.ndarray
    bone_id: np.ndarray
    haematoma: np.ndarray
    pennation: float
    artery: tuple[float, float, float] | None

    def column(self, x_mm: np.ndarray) -> np.ndarray:
        """Nearest grid column of lateral positions."""
        return np.clip(np.rint((x_mm - self.x[0]) / GRID_X_MM), 0, len(self.x) - 1).astype(np.int32)

    def row(self, y_mm: np.ndarray) -> np.ndarray:
        """Nearest grid row of elevational positions."""
        return np.clip(np.rint((y_mm - self.y[0]) / GRID_Y_MM), 0, len(self.y) - 1).astype(np.int32)


def draw_patient(settings: AnatomySettings, kind: FractureKind, random: np.random.Generator) -> Patient:
    """Draws a patient.

    Args:
        settings: The population.
        kind: Which fracture, or "none".
        random: Where the numbers come from.

    Returns:
        The patient.
    """
    ranges = {"step": settings.step_mm, "buckle": settings.buckle_mm, "gap": settings.gap_mm}
    size = random.uniform(*ranges.get(kind, (0.0, 0.0)))
    fracture = Fracture(
        kind=kind,
        size_mm=size,
        from_physis_mm=random.uniform(7.0, 13.0),
        obliquity=random.uniform(-0.35, 0.35),
        width_mm=random.uniform(1.3, 2.2),
    )
    return Patient(
        size=random.uniform(0.88, 1.12),
        skin=random.uniform(*settings.skin_mm),
        fat=random.uniform(*settings.fat_mm),
        tendon=random.uniform(*settings.tendon_mm),
        muscle=random.uniform(*settings.muscle_mm),
        physis_gap=random.uniform(*settings.physis_gap_mm),
        fracture=fracture,
    )


def build_anatomy(
    patient: Patient, view: View, plan: SweepPlan, width_mm: float, random: np.random.Generator
) -> Anatomy:
    """Builds the tissue that one sweep passes through.

    Args:
        patient: Whose wrist.
        view: Which view.
        plan: The sweep; the grid covers it with room for its wander.
        width_mm: Width of the probe.
        random: Where the numbers come from.

    Returns:
        The anatomy, already tilted and shifted as the probe is held.
    """
    recipe = RECIPES[view]
    half = width_mm / 2 + 5.0
    x = np.arange(-half, half + GRID_X_MM, GRID_X_MM)
    reach = 5.0
    y = np.arange(plan.elevation_mm.min() - reach, plan.elevation_mm.max() + reach + GRID_Y_MM, GRID_Y_MM)
    tilt = np.tan(np.deg2rad(plan.tilt_deg)) * x[None, :]
    standoff = random.uniform(0.2, 0.8)
    skin = standoff + patient.skin + 0.08 * _waves(x, y, 9.0, random)
    fascia = skin + patient.fat * (1 + 0.16 * _waves(x, y, 14.0, random)) + 0.3 * tilt
    tendon = patient.tendon * recipe.tendon * (1 + 0.10 * _waves(x, y, 18.0, random))
    tendon_bottom = fascia + np.maximum(tendon, 0.6) + 0.3 * tilt
    shape = _bone_shape(patient, recipe, plan, standoff, random)
    bone, bone_id = bone_surface(shape, patient.fracture, x, y)
    bone = bone + tilt + 0.04 * _waves(x, y, 2.0, random)
    # Soft tissue gives way to bone: a flare or a bulge pushes the tendon up and never cuts it.
    roof = _bridged(bone)
    tendon_bottom = np.minimum(tendon_bottom, gaussian_filter(roof, (1, 8)) - 0.35)
    fascia = np.minimum(fascia, tendon_bottom - 0.8)
    skin = np.minimum(skin, fascia - 0.5)
    artery = None
    if recipe.artery:
        depth = float(np.median(fascia)) + 1.6
        artery = (random.uniform(-12.0, -6.0), depth, random.uniform(0.8, 1.2))
    return Anatomy(
        x=x.astype(np.float32),
        y=y.astype(np.float32),
        standoff=standoff,
        skin=skin.astype(np.float32),
        fascia=fascia.astype(np.float32),
        tendon_bottom=tendon_bottom.astype(np.float32),
        bone=bone.astype(np.float32),
        roof=roof.astype(np.float32),
        bone_id=bone_id,
        haematoma=_haematoma(patient.fracture, shape, x, y),
        pennation=random.uniform(0.10, 0.28) * random.choice((-1.0, 1.0)),
        artery=artery,
    )


def interface(depth: np.ndarray, strength_db: np.ndarray | float) -> Interface:
    """Makes a mirror of a depth map; its slopes are taken on the map's own grid.

    Args:
        depth: mm [Y, X], NaN where absent.
        strength_db: Echo at normal incidence, dB of full scale, [Y, X] or one number.

    Returns:
        The interface.
    """
    slope_y, slope_x = np.gradient(depth, GRID_Y_MM, GRID_X_MM)
    strength = np.broadcast_to(np.asarray(strength_db, np.float32), depth.shape)
    # Next to a missing neighbour the slope is unknown: call it flat, or a bone's last column would vanish.
    return Interface(depth, strength, np.nan_to_num(slope_x), np.nan_to_num(slope_y))


def _bone_shape(
    patient: Patient, recipe: ViewRecipe, plan: SweepPlan, standoff: float, random: np.random.Generator
) -> BoneShape:
    cover = patient.fat + patient.tendon * recipe.tendon + patient.muscle * recipe.muscle
    depth = standoff + patient.skin + cover + random.uniform(1.6, 2.6)
    return BoneShape(
        physis_x=recipe.physis_x_mm * patient.size + plan.offset_mm + random.normal(0.0, 0.8),
        gap=patient.physis_gap,
        depth=depth,
        slope=recipe.slope + random.normal(0.0, 0.015),
        flare=random.uniform(0.7, 1.6),
        flare_length=random.uniform(5.0, 8.0),
        cross_radius=recipe.cross_radius_mm * patient.size,
        epiphysis_length=random.uniform(5.5, 7.5) * patient.size,
        carpal_length=random.uniform(7.0, 9.0) * patient.size,
        carpal_drop=random.uniform(0.8, 2.2),
        phase=random.uniform(0.0, 6.28),
    )


def _haematoma(fracture: Fracture, shape: BoneShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Lens of fluid over the break, 0 to 1, widest at the fracture line."""
    if fracture.kind == "none":
        return np.zeros((len(y), len(x)), np.float32)
    line = shape.physis_x - fracture.from_physis_mm + fracture.obliquity * y[:, None]
    return np.clip(1 - ((x[None, :] - line) / 4.5) ** 2, 0.0, 1.0).astype(np.float32)


def _bridged(bone: np.ndarray) -> np.ndarray:
    """Bone depth [Y, X] with straight bridges over its gaps."""
    columns = np.arange(bone.shape[1])
    rows = []
    for depth in bone:
        there = ~np.isnan(depth)
        rows.append(
            np.interp(columns, columns[there], depth[there]) if there.any() else np.full_like(depth, 60.0)
        )
    return np.stack(rows)


def _waves(x: np.ndarray, y: np.ndarray, length_mm: float, random: np.random.Generator) -> np.ndarray:
    """Smooth random field of unit variance [Y, X] whose bumps are about `length_mm` long."""
    noise = random.normal(size=(len(y) // 4 + 8, len(x) // 4 + 8))
    smooth = gaussian_filter(
        noise, (length_mm / (4 * GRID_Y_MM) / 3, length_mm / (4 * GRID_X_MM) / 3), mode="wrap"
    )
    smooth /= max(smooth.std(), 1e-9)
    rows = np.linspace(0, smooth.shape[0] - 1.001, len(y))
    columns = np.linspace(0, smooth.shape[1] - 1.001, len(x))
    above, left = rows.astype(int), columns.astype(int)
    down, right = (rows - above)[:, None], (columns - left)[None, :]
    upper = smooth[above][:, left] * (1 - right) + smooth[above][:, left + 1] * right
    lower = smooth[above + 1][:, left] * (1 - right) + smooth[above + 1][:, left + 1] * right
    return upper * (1 - down) + lower * down
