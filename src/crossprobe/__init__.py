"""Bring a new ultrasound probe online without labels."""
