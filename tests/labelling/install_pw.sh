#!/bin/sh
# Install Quantum ESPRESSO's pw.x for the tests from the packages of Debian or Ubuntu, where that is allowed; else say what to do.
# Root is asked for nothing; anybody else must set COEVO_TEST_INSTALL=1 before sudo is used.
set -u

if command -v pw.x >/dev/null 2>&1; then
    exit 0
fi
by_hand="install Quantum ESPRESSO so that pw.x is on PATH (apt-get install quantum-espresso)"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "-- no pw.x and no apt-get: its tests are skipped (in CI: they fail); $by_hand"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif [ "${COEVO_TEST_INSTALL:-0}" = 1 ]; then
    as_root="sudo env"
else
    echo "-- no pw.x: its tests are skipped (in CI: they fail); $by_hand,"
    echo "   or run COEVO_TEST_INSTALL=1 make test, which installs it by sudo"
    exit 0
fi
echo "-- installing Quantum ESPRESSO for the tests"
apt="$as_root DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300"
log=$(mktemp)
# the lists of packages may be there already, and a list that cannot be refreshed need not be the one that is wanted
install="$apt install --no-install-recommends quantum-espresso"
if $install >"$log" 2>&1 || { $apt update >>"$log" 2>&1; $install >>"$log" 2>&1; }; then
    rm -f "$log"
else
    tail -n 5 "$log"
    echo "-- apt-get failed (all of it in $log): the tests of pw.x are skipped (in CI: they fail); $by_hand"
fi
