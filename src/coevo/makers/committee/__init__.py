"""The second opinion: force fields that judge beside the state's own, and are part of the state."""
