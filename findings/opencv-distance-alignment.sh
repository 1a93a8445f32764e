#!/usr/bin/env bash
# OpenCV: the exact distance transform is not the same for the same image.
#
# Guess:     cv2.distanceTransform(mask, DIST_L2, DIST_MASK_PRECISE) is a pure function of the mask: the same mask gives the same bytes.
# Behaviour: the last bit of the distances depends on the address of the output array. OpenCV's x86 builds take the square root with Intel's
#            IPP, which treats the elements before the first aligned address differently from the rest. numpy aligns arrays to 16 bytes only,
#            so two runs of one program may differ. With IPP switched off (OPENCV_IPP=disabled) the bytes are equal.
# Matters:   a Hausdorff distance computed from such a transform differs between runs in its last digits, so results that should be equal
#            byte by byte are not. A true distance is the root of a whole number: rounding its square and taking the root again repairs it.
# Seen with: opencv-python-headless 5.0.0.93, numpy 2, Python 3.11, x86-64 with AVX-512:
#              IPP on:  8 results at 16 addresses, largest difference 7.6e-06
#              IPP off: 1 result at 16 addresses
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 numpy
cat > "$folder/check.py" <<'EOF'
import sys

import cv2
import numpy as np

mask = np.ones((64, 101), np.uint8)
mask[20, 30] = 0
results = []
for offset in range(0, 64, 4):
    buffer = np.zeros(4 * mask.size + 128, np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    out = buffer[start : start + 4 * mask.size].view(np.float32).reshape(mask.shape)
    results.append(cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE, dst=out).copy())
different = len({result.tobytes() for result in results})
largest = max(float(np.abs(result - results[0]).max()) for result in results)
print(f"OpenCV {cv2.__version__}, IPP {cv2.ipp.useIPP()}: {different} result(s) at {len(results)} addresses, largest difference {largest:.2g}")
sys.exit(0 if (different > 1) == (sys.argv[1] == "differ") else 1)
EOF
"$folder/venv/bin/python" "$folder/check.py" differ
OPENCV_IPP=disabled "$folder/venv/bin/python" "$folder/check.py" equal
