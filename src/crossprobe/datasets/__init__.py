"""Kedro data sets for the things the catalog holds."""
