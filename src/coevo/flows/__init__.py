"""How jobs are wired: graphs only, no numerics and no input or output."""
