"""How stiff a crystal is: strained and displaced frames of it, its bulk modulus and its frequencies at the Γ point."""
