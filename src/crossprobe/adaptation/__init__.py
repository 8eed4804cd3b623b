"""Domain adaptation: making features of two scanners alike."""
