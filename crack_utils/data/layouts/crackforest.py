"""CrackForest: ``image/x.jpg`` and ``groundTruth/x.mat``."""

import dataclasses
from pathlib import Path

import numpy as np
import scipy.io

from crack_utils.data.crops import Pair, Unused
from crack_utils.data.layouts import Found, Layout
from crack_utils.data.layouts.files import is_hidden
from crack_utils.data.layouts.folders import files_in, innermost
from crack_utils.data.layouts.names import pair_up
from crack_utils.errors import DataError

REASON = "image without truth, which is not crack-free"


def find(root: Path) -> Found:
    """The pairs. The data set has no splits."""
    root = innermost(root)
    truths = [path for path in sorted((root / "groundTruth").glob("*")) if path.suffix.lower() == ".mat" and not is_hidden(path.name)]
    paired = pair_up(files_in(root / "image"), truths)
    if not paired.pairs:
        raise DataError(f"no image of {root / 'image'} has a truth in {root / 'groundTruth'}; expected image/x.jpg and groundTruth/x.mat")
    damaged = {pair: error for pair in paired.pairs if (error := _damage(pair.mask_path))}
    unused = [*damaged.values(), *(Unused(pair.image_path, "photo whose mask cannot be used") for pair in damaged)]
    unused += [Unused(each.path, REASON) if each.reason == "photo without a mask" else each for each in paired.unused]
    missing = sum(each.reason == REASON for each in unused)
    note = f"{missing} images come without truth. They were left out, because they are not crack-free."
    return Found({"all": [pair for pair in paired.pairs if pair not in damaged]}, (note,) if missing else (), tuple(unused))


def _damage(path: Path) -> Unused | None:
    try:
        read_truth(path)
    except DataError as error:
        return Unused(path, "truth that cannot be read", "replace or remove it", str(error).removeprefix(f"cannot read {path} "))
    return None


def describe(pair: Pair) -> Pair:
    """Masks are MATLAB files."""
    is_matlab = pair.mask_path is not None and pair.mask_path.suffix.lower() == ".mat"
    return dataclasses.replace(pair, read_mask=read_truth) if is_matlab else pair


def read_truth(path: Path) -> np.ndarray:
    """The crack pixels of a truth file, (H, W) bool: labels 2 (crack) and 4 (faint crack), not 1 (pavement) and 3 (enclosed by cracks)."""
    try:
        truth = scipy.io.loadmat(path).get("groundTruth")
    except Exception as error:  # a damaged file raises whatever its bytes lead to: OSError, ValueError, TypeError, zlib.error, ...
        raise DataError(f"cannot read {path} as a MATLAB file: {error}; replace or remove it") from None
    if truth is None or "Segmentation" not in (truth.dtype.names or ()):
        raise DataError(f"{path} holds no groundTruth with a Segmentation; expected CrackForest's own files")
    labels = truth["Segmentation"].item()
    if not np.isin(labels, (1, 2, 3, 4)).all():
        raise DataError(f"{path}: Segmentation holds {np.unique(labels).tolist()}; expected labels 1 to 4")
    return np.isin(labels, (2, 4))


LAYOUT = Layout(title="CrackForest", find=find, link="https://github.com/cuilimeng/CrackForest-dataset", describe=describe)
