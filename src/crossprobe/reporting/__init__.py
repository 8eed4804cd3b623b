"""Figures and the self-contained report page, made from metrics tables and from nothing else."""
