"""What a person asks a node to do: initialise, run, plan, label, add, merge, extend, campaigns on a site. No terminal in here."""
