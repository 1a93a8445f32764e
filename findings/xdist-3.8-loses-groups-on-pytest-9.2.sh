#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0: --dist loadgroup takes no notice of xdist_group.
#
# Guess:     tests with the mark xdist_group("one") run in one process under --dist loadgroup, with any pytest that pip installs beside it.
# Behaviour: with pytest 9.1.1 they do. With 9.2.0, whose tests keep their names in another attribute, the mark is ignored without a word:
#            the tests are spread over all processes, so what they share is made once in each process, or by two processes at once.
# Matters:   suites that train once for many tests train once in every process; tests that share a file or a GPU disturb one another.
#            Allow pytest below 9.2 only, or look at the reported names: grouped ones end in @GROUP.
# Seen with: Python 3.11, pytest-xdist 3.8.0:
#              pytest 9.1.1: 1 process ran the group of 6 tests
#              pytest 9.2.0: 2 processes ran the group of 6 tests
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/test_group.py" <<'EOF'
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(6))
def test_together(number):
    time.sleep(0.3)
EOF
for version in 9.1.1:1 9.2.0:2; do
  python3 -m venv "$folder/${version%%:*}"
  "$folder/${version%%:*}/bin/pip" install -q "pytest==${version%%:*}" pytest-xdist==3.8.0
  processes=$(cd "$folder" && "${version%%:*}/bin/python" -m pytest -n 2 --dist loadgroup -v test_group.py | grep PASSED | grep -o "gw[01]" | sort -u | wc -l)
  echo "pytest ${version%%:*}: $processes process$([ "$processes" = 1 ] || echo es) ran the group of 6 tests"
  [ "$processes" = "${version#*:}" ]
done
