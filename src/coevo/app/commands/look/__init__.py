"""Commands that look at states, files and known sets, and change nothing."""
