"""Calculations that users bring, on their way to label documents."""
