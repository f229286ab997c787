"""What a pile or a state is worth: comparison, validity, energies, environments, and the summary of all."""
