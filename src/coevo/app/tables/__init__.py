"""What commands print for people, as tables."""
