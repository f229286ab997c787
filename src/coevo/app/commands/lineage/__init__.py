"""Commands on branches, unions and exchange of states."""
