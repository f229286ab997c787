"""Runs of Quantum ESPRESSO's ``pw.x``: the text output (``output``) and ``data-file-schema.xml`` (``document``)."""
