"""Sets of known structures: bundled, files, OPTIMADE providers, the Materials Project; and what is new against them."""
