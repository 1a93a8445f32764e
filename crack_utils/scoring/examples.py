"""Which images are worth looking at."""

import pandas as pd


def pick_examples(per_image: pd.DataFrame, worst: int = 12, median: int = 6, best: int = 6, crack_free: int = 6) -> pd.DataFrame:
    """Rows of per_image.csv worth looking at, with a column ``kind``; photos of just these are kept with the run.

    Crack-free images come with the highest decision probability first. Where there are few images, one may be of several kinds.
    """
    cracked = per_image[per_image.has_crack]
    middle = max(0, (len(cracked) - median) // 2)
    alarming = per_image[~per_image.has_crack].sort_values("decision_prob", ascending=False, kind="stable")
    kinds = {
        "best": cracked[::-1][:best],
        "worst": cracked[:worst],
        "median": cracked[middle : middle + median],
        "crack-free": alarming[:crack_free],
    }
    return pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()])
