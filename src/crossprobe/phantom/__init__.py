"""A two-probe wrist phantom: data with a known answer, and a device shift that comes from physics."""
