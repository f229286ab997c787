"""What a person asks of a state or of a pile of crystals; nothing is changed."""
