"""What a probe says of its generator and of a state."""
