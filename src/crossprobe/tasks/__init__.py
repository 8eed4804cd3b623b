"""What the training loop can be asked to train: one module a method."""
