"""A SLURM cluster on one host, for trying a site and for tests."""
