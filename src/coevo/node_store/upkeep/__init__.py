"""Verification, garbage collection and migration."""
