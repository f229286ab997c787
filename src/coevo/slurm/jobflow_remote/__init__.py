"""Campaigns through jobflow-remote instead of FireWorks."""
