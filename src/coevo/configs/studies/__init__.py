"""Settings of studies, a file for each kind; they are given with the command and are in no configuration of a node."""
