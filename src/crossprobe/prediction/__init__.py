"""From a trained ensemble and new recordings to masks: no labels, no training."""
