"""Scores by patient, intervals, paired tests and label-free choice."""
