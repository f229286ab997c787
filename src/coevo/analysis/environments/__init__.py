"""Local environments: descriptors, sums of kernels over them, entropies and gains."""
