#!/usr/bin/env bash
# numpy 2.1.0 and 2.1.1: a product has another type, and another value, in a thread.
#
# Guess:     since numpy 2 (NEP 50) the types alone decide: np.uint16(181) times an array of uint8 is an array of uint16, everywhere.
# Behaviour: in the main thread this holds. In any other thread numpy 2.1 follows the old rule, which looks at the scalar's value: 181 fits
#            into uint8, so the product is computed in uint8 and overflows without a word. 2.0.2 and 2.2.0 give uint16 in both.
# Matters:   histograms and label maps that pack two numbers into one (class + 181 * kind) count wrongly in thread pools only.
#            np.multiply(size, kind, dtype=np.uint16) says the type and is right on every version.
# Seen with: Python 3.11:
#              numpy 2.1.1: main thread uint16 362, other thread uint8 106
#              numpy 2.2.0: main thread uint16 362, other thread uint16 362
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'EOF'
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def product():
    found = np.uint16(181) * np.full(3, 2, np.uint8)
    return f"{found.dtype} {found[0]}"


with ThreadPoolExecutor(1) as pool:
    other = pool.submit(product).result()
print(f"numpy {np.__version__}: main thread {product()}, other thread {other}")
sys.exit(0 if [product(), other] == ["uint16 362", sys.argv[1]] else 1)
EOF
for version in "2.1.1:uint8 106" "2.2.0:uint16 362"; do
  python3 -m venv "$folder/${version%%:*}"
  "$folder/${version%%:*}/bin/pip" install -q "numpy==${version%%:*}"
  "$folder/${version%%:*}/bin/python" "$folder/check.py" "${version#*:}"
done
