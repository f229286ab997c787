"""One jobflow Maker per step of the loop; each reads artifacts, calls models or analysis, and writes artifacts."""
