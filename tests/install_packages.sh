#!/bin/sh
# Install packages of Debian or Ubuntu for the tests, where that is allowed; else say what to do.
#
#     install_packages.sh NAME "COMMAND…" PACKAGE…
#
# Nothing happens if every COMMAND is there. Root is asked for nothing; anybody else must set COEVO_TEST_INSTALL=1 before sudo is
# used. What is installed already is not upgraded, and no service is started or restarted: the tests start what they need.
set -u

name=$1
commands=$2
shift 2

missing=""
for command in $commands; do
    # daemons lie in directories that are not on everybody's PATH
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1 || missing="$missing $command"
done
[ -n "$missing" ] || exit 0

by_hand="install $name so that these are on PATH:$missing (apt-get install $*)"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "-- no $name and no apt-get: its tests are skipped (in CI: they fail); $by_hand"
    exit 0
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root="env"
elif [ "${COEVO_TEST_INSTALL:-0}" = 1 ]; then
    as_root="sudo env"
else
    echo "-- no $name: its tests are skipped (in CI: they fail); $by_hand,"
    echo "   or run COEVO_TEST_INSTALL=1 make test, which installs it by sudo"
    exit 0
fi

echo "-- installing $name for the tests"
# Packages start their services by invoke-rc.d; dpkg finds this one first, which does nothing.
quiet=$(mktemp -d)
log=$(mktemp)
trap 'rm -rf "$quiet"' EXIT
printf '#!/bin/sh\nexit 0\n' >"$quiet/invoke-rc.d"
chmod 755 "$quiet" "$quiet/invoke-rc.d"
apt="$as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -q -y -o DPkg::Lock::Timeout=300"
apt="$apt -o DPkg::Path=$quiet:/usr/sbin:/usr/bin:/sbin:/bin"
# the lists of packages may be there already, and a list that cannot be refreshed need not be the one that is wanted
install="$apt install --no-install-recommends --no-upgrade $*"
if $install >"$log" 2>&1 || { $apt update >>"$log" 2>&1; $install >>"$log" 2>&1; }; then
    rm -f "$log"
else
    tail -n 5 "$log"
    echo "-- apt-get failed (all of it in $log): the tests of $name are skipped (in CI: they fail); $by_hand"
fi
