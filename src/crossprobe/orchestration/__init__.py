"""Runs stages on a schedule or when data arrive."""
