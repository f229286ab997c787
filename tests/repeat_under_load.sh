#!/usr/bin/env bash
# Repeat the tests that are marked `timing` beside others that compute, and say how often each passed.
#
#     tests/repeat_under_load.sh PYTHON [TIMES [LOAD [ARGUMENTS OF PYTEST ...]]]
#
# TIMES is 10 and LOAD, the number of processes that compute all the while, is 6 unless given. Ends with exit code 1 if any test
# failed or did not run in each of the repetitions.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$1 times=${2:-10} load=${3:-6}
shift $(($# < 3 ? $# : 3))
results=$(mktemp -d)
busy=()
stop() { [ ${#busy[@]} = 0 ] || kill "${busy[@]}" 2> /dev/null || true; rm -rf "$results"; }
trap stop EXIT
for _ in $(seq "$load"); do
  yes > /dev/null &
  busy+=($!)
done
for number in $(seq "$times"); do
  echo "-- $number of $times, load $load"
  "$python" -m pytest -q -m "timing and not long" -p no:cacheprovider --junitxml "$results/$number.xml" "$@" || true
done
"$python" - "$results" "$times" << 'EOF'
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

times, ran, passed = int(sys.argv[2]), Counter(), Counter()
for path in Path(sys.argv[1]).glob("*.xml"):
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ran[name] += 1
        passed[name] += not {child.tag for child in case} & {"failure", "error", "skipped"}
for name in sorted(ran):
    print(f"{passed[name]:3d} of {times}  {name}")
sys.exit(not ran or any(passed[name] != times for name in ran))
EOF
