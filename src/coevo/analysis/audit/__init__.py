"""The audit: what a look by somebody who took no part in training says of a model's verdicts on stability."""
