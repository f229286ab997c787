"""The hull of a state beside that of a database: its compositions and energies, read from a table, compared with ours."""
