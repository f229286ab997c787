"""What studies of phonons and of stability at temperature and pressure say."""
