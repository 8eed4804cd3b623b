"""One video from its settings and seed alone: anatomy, sweep, frames on screen, masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossprobe.phantom.anatomy import build_anatomy, draw_patient
from crossprobe.phantom.annotation import drawn_mask, steady_hand, surface_line, true_mask
from crossprobe.phantom.bone import FractureKind
from crossprobe.phantom.display import Screen, empty_screen, lay_out, show
from crossprobe.phantom.image_formation import ImageFormer, compress
from crossprobe.phantom.settings import PhantomSettings, SiteName, SiteSettings, View
from crossprobe.phantom.sweep import SweepPlan, plan_sweep
from crossprobe.phantom.tissue import interfaces, scatter_from

SITE_CODE = {"source": 1, "target": 2, "unseen": 3}
VIEW_CODE = {"dorsal": 1, "proximal_dorsal": 2, "radial": 3, "volar": 4, "proximal_volar": 5}


@dataclass(frozen=True)
class VideoJob:
    """Which video: everything about it follows from this and the settings."""

    site: SiteName
    patient: int
    view: View
    kind: FractureKind


@dataclass(frozen=True)
class Video:
    """One simulated video.

    `frames` is uint8 [N, H, W], the whole screen. `masks` and `truths` map the number of every annotated
    frame to what the annotator drew and to the known answer, uint8 0/1 [H, W].
    """

    frames: np.ndarray
    masks: dict[int, np.ndarray]
    truths: dict[int, np.ndarray]
    screen: Screen
    plan: SweepPlan


def simulate_video(settings: PhantomSettings, job: VideoJob) -> Video:
    """Simulates one video; the same settings and job give the same bytes.

    Args:
        settings: The phantom.
        job: Which site, patient, view and fracture.

    Returns:
        The video.
    """
    site = settings.site(job.site)
    address = (settings.seed, SITE_CODE[job.site], job.patient)
    patient = draw_patient(settings.anatomy, job.kind, _generator(*address))
    layout, tissue, noise, outline = (_generator(*address, VIEW_CODE[job.view], part) for part in range(4))
    plan = plan_sweep(site, job.view, layout)
    anatomy = build_anatomy(patient, job.view, plan, site.probe.width_mm, layout)
    cloud = scatter_from(anatomy, site.probe, plan.depth_mm, tissue)
    mirrors = interfaces(anatomy, settings.anatomy, tissue)
    former = ImageFormer(site.probe, settings.anatomy, anatomy, cloud, mirrors, plan)
    screen = lay_out(site.probe, plan.depth_mm, settings.frame_height_px, settings.frame_width_px)
    frames = _frames(site, former, screen, noise)
    first = int(layout.integers(site.annotator.every))
    hand = steady_hand(site.annotator, outline)
    masks, truths = {}, {}
    for frame in range(first, plan.frames, site.annotator.every):
        line = surface_line(anatomy, plan, frame, site.probe.width_mm, screen.width, screen.spacing_mm)
        drawn = drawn_mask(line, settings.anatomy, site.annotator, screen.height, hand, outline)
        masks[frame] = _on_screen(drawn, screen)
        truths[frame] = _on_screen(true_mask(line, settings.anatomy, screen.height), screen)
    return Video(frames, masks, truths, screen, plan)


def _frames(
    site: SiteSettings, former: ImageFormer, screen: Screen, noise: np.random.Generator
) -> np.ndarray:
    """All frames of a sweep on screen; persistence carries over from frame to frame."""
    canvas = empty_screen(site.probe, former.plan, screen)
    keep = site.probe.persistence
    shown, held = [], None
    for frame in range(former.plan.frames):
        fresh = former.envelope(frame, noise)
        held = fresh if held is None else keep * held + (1 - keep) * fresh
        shown.append(show(canvas, compress(held, site.probe), site.probe, screen, frame))
    return np.stack(shown)


def _on_screen(mask: np.ndarray, screen: Screen) -> np.ndarray:
    full = np.zeros((screen.frame_height, screen.frame_width), np.uint8)
    full[screen.top : screen.top + screen.height, screen.left : screen.left + screen.width] = mask
    return full


def _generator(*address: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(address))
