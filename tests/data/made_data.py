"""Data sets in their own layouts, written on the spot."""

import numpy as np
import scipy.io
from conftest import write_dataset, write_pair
from PIL import Image


def stems(pairs):
    return [pair.stem for pair in pairs]


def write_folder(root, photos=10, crops=3, cracked=None, size=(64, 128)):
    """Photos in images/ and their masks in masks/. Photos from number ``cracked`` on have black masks."""
    for i in range(photos):
        for crop in range(crops):
            name = f"p{i:02}_{1 + 128 * crop}_1" if crops > 1 else f"IMG_20240101_1200{i:02}"
            write_pair(root / f"images/{name}.jpg", root / f"masks/{name}.png", size, seed=i)
            if cracked is not None and i >= cracked:
                Image.new("L", size[::-1]).save(root / f"masks/{name}.png")
    return root


def write_truth(path, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, {"groundTruth": {"Segmentation": labels, "Boundaries": labels}})


def write_crackforest(root, images=10, truths=8):
    for i in range(1, images + 1):
        mask = write_pair(root / f"image/{i:03}.jpg", seed=i)
        if i <= truths:
            write_truth(root / f"groundTruth/{i:03}.mat", mask.astype(np.uint8) + 1)
    return root


def write_deepcrack(root, train=10, test=4):
    for split, count in (("train", train), ("test", test)):
        for i in range(count):
            stem = f"11{len(split)}{i // 2:02}-{1 + i % 2}"
            write_pair(root / f"{split}_img/{stem}.jpg", root / f"{split}_lab/{stem}.png", seed=i)
    return root


MERGED = {  # a crop's name and its photo's
    "CRACK500_20160222_081011_1_361": "CRACK500_20160222_081011",
    "CFD_001": "CFD_001",
    "DeepCrack_11178-2": "DeepCrack_11178",
    "GAPS384_train_0005_1_541": "GAPS384_train_0005",
    "Rissbilder_for_Florian_9S6A2806_480_512_3420_3456": "Rissbilder_for_Florian_9S6A2806",
    "Volker_DSC01646_226_19_1273_1645": "Volker_DSC01646",
    "cracktree200_6192": "cracktree200_6192",
    "Sylvie_Chambon_319": "Sylvie_Chambon_319",
}


def write_merged(root):
    for split in ("train", "test"):
        for i, stem in enumerate(MERGED):
            write_pair(root / split / f"images/{stem}.jpg", root / split / f"masks/{stem}.jpg", seed=i)
        crack_free = root / split / "images/noncrack_noncrack_concrete_wall_9_27.jpg.jpg"
        write_pair(crack_free)
        noise = np.random.default_rng(0).integers(0, 6, (64, 128), np.uint8)
        (root / split / "masks").mkdir(exist_ok=True)
        Image.fromarray(noise).save(root / split / "masks" / crack_free.name)
    return root


def write_twins(root):
    """A data set of which a photo is in train, val and test, another in train and val."""
    write_dataset(root, train=4, val=2, test=2, negatives=0)
    for seed, (split, stem) in enumerate(
        [("train", "a_1_1"), ("train", "a_129_1"), ("val", "a_257_1"), ("test", "a_385_1"), ("train", "b_1_1"), ("val", "b_129_1")]
    ):
        write_pair(root / f"{split}crop/{stem}.jpg", root / f"{split}crop/{stem}.png", seed=50 + seed)
    return root
