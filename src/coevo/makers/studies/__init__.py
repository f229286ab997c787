"""Steps of studies: what is computed of phases of a state, and the document that stands beside it."""
