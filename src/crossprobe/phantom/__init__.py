"""A two-probe physical wrist phantom: ultrasound with a known answer."""
