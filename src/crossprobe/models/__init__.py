"""TransUNet and its checkpoints."""
