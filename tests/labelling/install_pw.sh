#!/bin/sh
# Install Quantum ESPRESSO's pw.x for the tests, where that is allowed; else say what to do.
exec "$(dirname "$0")/../install_packages.sh" "Quantum ESPRESSO" "pw.x" quantum-espresso
