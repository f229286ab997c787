"""Labels from Quantum ESPRESSO's ``pw.x``, run and corrected by custodian."""
