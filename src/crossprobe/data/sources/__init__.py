"""Readers of the data layouts people have: one module a layout."""
