"""The command line."""

from coevo.processes import hold_numerics

hold_numerics()  # here, because commands import NumPy, whose OpenBLAS reads its variables as it is loaded
