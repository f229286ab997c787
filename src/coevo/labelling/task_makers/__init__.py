"""Any static Maker of atomate2, or of another package for jobflow, as a labelling code."""
