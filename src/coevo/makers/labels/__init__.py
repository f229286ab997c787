"""Labels between the steps: which frames get one, under which settings, and what is trained on."""
