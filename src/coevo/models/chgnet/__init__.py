"""CHGNet: weights, batched inference, relaxation and fine-tuning behind the force-field contract."""
