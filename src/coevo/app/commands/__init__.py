"""The commands, one module or folder for each group of the help text (:mod:`coevo.app.help_groups`)."""
