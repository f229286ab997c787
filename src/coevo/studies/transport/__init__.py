"""What a study of transport says, in words."""
