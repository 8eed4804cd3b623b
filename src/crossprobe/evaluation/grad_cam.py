"""Grad-CAM: where in an image a classifier found what speaks for a class.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV
2017; computed by MONAI.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.visualize.class_activation_maps import GradCAM

from crossprobe.fusion.class_predictor import ClassifierPredictor


def grad_cam(predictor: ClassifierPredictor, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Computes one map an image.

    Args:
        predictor: A classifier.
        images: uint8 [B, S, S].
        classes: Number of the class asked for, [B].

    Returns:
        float32 [B, S, S] in [0, 1]; 1 speaks most strongly for the class. Where nothing speaks for it, the
        whole map is 0.
    """
    cam = GradCAM(nn_module=predictor.module, target_layers="maps", postprocessing=_as_it_is)
    maps = []
    for image, wanted in zip(images, classes, strict=True):
        with torch.enable_grad():
            batch = predictor.inputs(image[None]).requires_grad_(True)
            found = cam(x=batch, class_idx=int(wanted))[0, 0]
        found = found.detach().float().cpu().numpy() if torch.is_tensor(found) else np.asarray(found)
        maps.append(found / found.max() if found.max() > 0 else np.zeros_like(found))
    return np.stack(maps).astype(np.float32)


def _as_it_is(maps: torch.Tensor) -> torch.Tensor:
    """Keeps the map: MONAI's own scaling turns it upside down, so that 0 speaks most strongly."""
    return maps
