"""Kedro pipelines: each node unpacks, calls the library and returns."""
