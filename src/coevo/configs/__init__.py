"""Configurations: the tree (:mod:`~coevo.configs.tree`), its YAML files and presets, and the reference structures.

``nodes/`` holds presets of whole nodes and ``references/`` sets of known phases, both as package data.
"""
