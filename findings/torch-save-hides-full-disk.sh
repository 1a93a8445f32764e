#!/usr/bin/env bash
# torch.save to an open file hides that the disk is full.
#
# Guess:     when the file's write() raises OSError (no space left on device), torch.save raises this OSError, as pickle.dump does.
# Behaviour: torch.save raises a RuntimeError about an unexpected position in its archive. The OSError is only its context
#            (__context__), so code that catches OSError to tell a full disk or a quota does not see the error.
# Matters:   a training that handles a full disk must serialize to memory first (torch.save into io.BytesIO) and write the bytes itself.
# Seen with: torch 2.13.0 and 2.14.1, Python 3.11:
#              torch.save: RuntimeError, context OSError
#              pickle.dump: OSError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 numpy
cat > "$folder/check.py" <<'EOF'
import pickle
import sys

import torch


class FullDisk:
    """A file that takes a thousand bytes."""

    def __init__(self):
        self.left = 1000

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return len(data)

    def flush(self):
        pass


def error_of(save):
    try:
        save({"weights": torch.zeros(10_000)}, FullDisk())
    except Exception as error:
        return error


hidden, plain = error_of(torch.save), error_of(pickle.dump)
print(f"torch {torch.__version__}")
print(f"torch.save: {type(hidden).__name__}, context {type(hidden.__context__).__name__}")
print(f"pickle.dump: {type(plain).__name__}")
is_as_seen = type(hidden) is RuntimeError and isinstance(hidden.__context__, OSError) and isinstance(plain, OSError)
sys.exit(0 if is_as_seen else 1)
EOF
"$folder/venv/bin/python" "$folder/check.py"
