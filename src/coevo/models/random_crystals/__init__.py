"""The embedded generator: learned distributions instead of a neural network; no weights, no GPU, no download."""
