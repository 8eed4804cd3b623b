"""Self-supervised pretraining: masked image modelling and temporally masked contrastive learning."""
