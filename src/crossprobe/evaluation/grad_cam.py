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
        float32 [B, S, S] in [0, 1]; 1 speaks most strongly for the class. A map that is the same everywhere,
        where nothing speaks for it, is 0.
    """
    cam = GradCAM(nn_module=predictor.module, target_layers="maps")
    maps = []
    for image, wanted in zip(images, classes, strict=True):
        with torch.enable_grad():
            batch = predictor.inputs(image[None]).requires_grad_(True)
            found = cam(x=batch, class_idx=int(wanted))[0, 0]
        found = found.detach().float().cpu().numpy() if torch.is_tensor(found) else np.asarray(found)
        # MONAI scales to [0, 1] with 1 for a map without any peak.
        maps.append(np.zeros_like(found) if np.ptp(found) == 0 else found)
    return np.stack(maps).astype(np.float32)
