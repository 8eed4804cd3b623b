"""Figures and the self-contained report page, made from metrics tables."""
