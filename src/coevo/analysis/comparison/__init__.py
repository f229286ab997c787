"""Which crystals are the same: fingerprints, matching, grouping, uniqueness, novelty, rediscovery."""
