"""The report of a state: one folder with a page, figures, their data and structures, readable without a network."""
