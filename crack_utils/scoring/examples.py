"""Images that are worth looking at."""

import pandas as pd


def pick_examples(per_image: pd.DataFrame, worst: int = 12, median: int = 6, best: int = 6, crack_free: int = 6) -> pd.DataFrame:
    """Pick the rows of per_image.csv that are worth looking at. The run keeps the photos of these rows.

    Of the crack-free images, those with the highest decision probability are picked. If there are few images, one image may be of
    several kinds.

    Returns:
        The rows with a column ``kind``: ``best``, ``worst``, ``median``, ``crack-free``.
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
