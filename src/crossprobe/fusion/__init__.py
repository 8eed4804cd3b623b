"""Two branches, one mask: calibration and confidence-weighted fusion."""
