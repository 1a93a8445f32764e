"""ipywidgets tools for a notebook with a live kernel; pages leave them out."""

import ipywidgets
from IPython.display import display

from crack_utils import plots
from crack_utils.artifacts import Run
from crack_utils.evaluation import load_examples
from crack_utils.metrics import precision_recall_f1, tolerance_maps


def browse(run: Run) -> ipywidgets.Widget:
    """Pick one of a run's example images, move the threshold, and see its errors and scores change."""
    kinds = ("worst", "median", "best", "crack-free")
    examples = {f"{kind}: {example.stem}": example for kind in kinds for example in load_examples(run, kind)}

    def show(image: str, threshold: float) -> None:
        example = examples[image]
        hit, miss, false_alarm = tolerance_maps(example.seg_prob, example.mask, threshold)
        precision, recall, f1 = precision_recall_f1(hit.sum(), false_alarm.sum(), miss.sum())
        fig, axes = plots.figure(10.4, 3.2, columns=2)
        for ax, picture in zip(axes, (example.image, plots.overlap(example.image, hit, miss, false_alarm)), strict=True):
            ax.imshow(picture, cmap="gray")
            ax.axis("off")
        fig.suptitle(f"precision {precision:.3f}   recall {recall:.3f}   F1 {f1:.3f}")
        display(fig)

    start = run.load_metrics()["segmentation_2px"]["threshold"]
    slider = ipywidgets.FloatSlider(value=start, min=0.1, max=0.995, step=0.005, readout_format=".3f", continuous_update=False)
    return ipywidgets.interactive(show, image=list(examples), threshold=slider)
