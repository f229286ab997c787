"""States as files that travel: export, import, and what a stranger may have written."""
