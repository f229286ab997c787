"""Runs of Quantum ESPRESSO's ``pw.x``: its text output, and its ``data-file-schema.xml``."""

from coevo.labelling.imported.pwscf.document import read_pw_xml
from coevo.labelling.imported.pwscf.output import read_pw_output

__all__ = ["read_pw_output", "read_pw_xml"]
