"""Local environments in one place: descriptors, entropies, and what new structures add (see the modules named below)."""

from __future__ import annotations

from coevo.analysis.descriptors import descriptors, descriptors_by_element, descriptors_of, multicomponent_descriptors
from coevo.analysis.entropy import (
    MAX_DELTA_ENTROPY,
    EntropyBySpecies,
    EntropyEstimate,
    delta_entropy,
    entropy,
    sampled_entropies,
    sampled_entropy,
)
from coevo.analysis.entropy_gain import greedy_entropy_gain
from coevo.analysis.environment_set import EnvironmentSet
from coevo.analysis.kernel_sums import kernel_sums

__all__ = [
    "MAX_DELTA_ENTROPY",
    "EntropyBySpecies",
    "EntropyEstimate",
    "EnvironmentSet",
    "delta_entropy",
    "descriptors",
    "descriptors_by_element",
    "descriptors_of",
    "entropy",
    "greedy_entropy_gain",
    "kernel_sums",
    "multicomponent_descriptors",
    "sampled_entropies",
    "sampled_entropy",
]
