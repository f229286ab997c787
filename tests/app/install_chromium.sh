#!/bin/sh
# Install Chromium for the tests of the report's page, where that is allowed; else say what to do.
exec "$(dirname "$0")/../install_packages.sh" "Chromium" "chromium" chromium
