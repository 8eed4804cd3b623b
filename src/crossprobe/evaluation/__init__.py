"""Honest evaluation: scores by frame, intervals over patients, corrected tests, choices without labels."""
