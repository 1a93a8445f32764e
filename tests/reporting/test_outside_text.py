"""Text from outside (names of folders and files, notes, messages, files of a stranger's run) is shown as it is and never becomes markup."""

import html
import json
import random
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from conftest import TINY, small_params, write_dataset
from nbformat.v4 import new_markdown_cell, new_notebook
from test_words import COUNTS, FACTS, HISTORY, METRICS

from crack_utils.config import parse_parameters
from crack_utils.evaluation import evaluate_run
from crack_utils.reporting import comparison, evaluation_words, record, words
from crack_utils.reporting.exporter import markdown2html
from crack_utils.reporting.pages import NOTEBOOKS, page_name, to_html, unfinished, write_index
from crack_utils.reporting.plots import figure, plot_curves, plot_loss, plot_validation, to_svg
from crack_utils.reporting.runner import compare, execute_and_render
from crack_utils.store import Run, report_dir
from crack_utils.training import train_run

# A file may have this name. Formulas, code, links, tables, headings and HTML would each swallow a piece of the name.
MARKS = r"""<u>o *o* **o** _o_ `o` [o](o) ![o](o) $o$ $\frac$ ~~o~~ |o| \o\ \(o\) \\(o\\) \[o\] &lt; &#42; <!-- "o' #o"""
NAME = "._o_"  # a run may be called so, too


def outside(label, marks=MARKS):
    """A text from outside that tests find by its label."""
    return f"Q{label}Q {marks}"


class Shown(HTMLParser):
    """What a reader sees or hears of a page: its texts, its descriptions, its links and the kinds of its elements. Code is left out."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.spoken, self.tags, self.links, self.hidden = [], [], set(), [], []
        self.feed(page)
        self.close()
        self.text = " ".join("".join(self.texts).split()).replace("""'"'"'""", "'")  # so a shell quotes it

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.links += [values["href"]] if tag == "a" else []
        curves = json.loads(values.pop("data-series", "[]"))
        spoken = [*filter(None, values.values()), *(curve["label"] for curve in curves)]
        self.spoken += [" ".join(each.split()) for each in spoken if not each.startswith("data:")]
        if self.hidden or tag in ("script", "style") or values.get("class") == "code":
            self.hidden.append(tag)

    def handle_endtag(self, tag):
        if tag in self.hidden:
            while self.hidden.pop() != tag:
                pass

    def handle_data(self, data):
        if not self.hidden:
            self.texts.append(data)


def check(page, *labels, marks=MARKS):
    """All these texts are on the page, and wherever one of them begins, all of it follows."""
    shown = Shown(page)
    whole = f" {marks}", f" {' '.join(marks.replace('_', ' ').split())}"  # the title of a loss has spaces instead of underscores
    for text in (shown.text, *shown.spoken):
        for found in re.finditer(r"Q\w+Q", text):
            assert text[found.end() :].startswith(whole), text[found.start() : found.end() + 2 * len(marks)]
    assert {label for label in labels if f"Q{label}Q" not in shown.text} == set()
    assert "u" not in shown.tags and not re.search(r"<(em|strong|code|del|mi)>o<", page)
    assert not [link for link in shown.links if link == "o" or "://o" in link]
    return shown


def page_of(*sentences):
    return to_html(new_notebook(cells=[new_markdown_cell(each) for each in sentences], metadata={"title": "T"}))


PIECES = [*"\\`*_{}[]<>()#+-.!|~$&:=\"'^%@/?;, \n1a", "\\begin{a}", "\\end{a}", "\\[", "\\]", "\\\\(", "\\\\)", "$$", "<b>", "<!--", "-->"]
PIECES += ["http://o.o", "&lt;", "```", "1. ", "# ", "---", "|-|", "[x]: o", "\u2028", "é"]


def test_no_text_is_taken_for_markup_wherever_it_stands():
    from crack_utils.reporting.html import literal

    rng = random.Random(0)
    for _ in range(2000):
        text = "".join(rng.choices(PIECES, k=rng.randint(1, 12)))
        whole = " ".join(f"a {text}".split())[2:]
        found = [
            f"Run **{literal(text)}** ({literal(text)}): x",
            f"- [{literal(text)}](o.html)",
            f"# On {literal(text)}",
            f"{literal(text)} is",
        ]
        meant = f"<p>Run <strong>{whole}</strong> ({whole}): x</p>", f'<ul>\n<li><a href="o.html">{whole}</a></li>\n</ul>'
        meant = [*meant, f"<h1>On {whole}</h1>", f"<p>{whole} is</p>"]
        if whole:
            assert [html.unescape(markdown2html({}, each)).strip() for each in found] == meant, text
    assert literal("trials/first_trial-2") == "trials/first_trial-2" and literal(0.01) == "0.01"


def resolved_of(run, **values):
    """params.json of a run from outside. Nobody has checked the values that the program once worked out."""
    run.params.save(parse_parameters({"dataset": "crack500", "data_root": "x", "epochs": 3, "architecture": "unet", **values}), {}, FACTS)
    names = {name: outside(name, f"{MARKS} http://o.o") for name in ("device", "encoder", "delta_cls_loss", "title", "test_title")}
    data = FACTS | {name: names.pop(name) for name in ("title", "test_title")} | {"notes": [outside("note")]}
    run.params.path.write_text(json.dumps(json.loads(run.params.path.read_text()) | names | {"data": data}))
    return run.params.resolved()


def test_the_sentences_about_a_run_take_no_markup_from_its_files(home):
    run = Run(f"odd/a{NAME}")
    resolved = resolved_of(run, dynamically_balanced_loss=False)
    run.history.save(HISTORY)
    run.chosen.save({"epoch": outside("epoch", f"{MARKS} http://o.o"), "by": "val", "validation": {}})
    marks = f"{MARKS} http://o.o"
    resolved["data"]["counts"] = COUNTS | {"test": {"positives": outside("positives", marks)}}
    metrics = METRICS | {"decision": {"tp": outside("tp", marks), "fn": "", "fp": outside("fp", marks), "tn": " in all"}}
    counted = {"images": outside("images", marks), "images_with_false_alarm": outside("alarms", marks), "false_alarm_pixel_share": 0.1}
    sentences = {
        "heading": words.heading(resolved),
        "summary": words.summary(run, resolved, metrics, run.history.load()),
        "losses": words.losses(resolved),
        "alarms": words.false_alarms({"crack_free": counted}),
        "leaks": evaluation_words.leaks({"without_leaks": {"images_left_out": outside("left", marks)}}, {"data": {"leaks": {}}}),
        "none beside": record.comparison_words(resolved | {"dataset": "folder"}),
    }
    labels = ("positives", "tp", "fp", "title", "device", "encoder", "test_title", "epoch", "delta_cls_loss", "images", "alarms", "left")
    shown = check(page_of(*sentences.values()), *labels, marks=marks)
    assert f"Run odd/a{NAME}: U-Net (encoder Q" in shown.text
    kinds = {"intervals": {"photos": {outside("kind"): 9}}}
    check(page_of(evaluation_words.certainty(kinds, {"drawn": False})), "kind", marks=MARKS.replace("_", "-"))


def test_the_published_run_beside_a_run_takes_no_markup_from_the_runs_files(home):
    resolved = resolved_of(Run("a"), record_run="run6_6", encoder=outside("mine"))
    resolved["data"] |= {"counts": COUNTS, "test_title": outside("tested")}
    said = [record.comparison_words(resolved), record.beside(resolved, METRICS)]
    shown = check(page_of(*said), "mine", "tested")
    assert "The published run is run6_6 (the write-up)." in shown.text


def test_the_words_of_a_comparison_take_no_markup_from_names_and_values():
    groups = [outside("best"), outside("second")]
    frame = pd.DataFrame({"run": ["a", "b"], "group": groups, "val F1": [0.7, 0.5], "test F1": [0.7, 0.5], "seed": [0, 0]})
    more = pd.concat([frame, frame.assign(seed=1)])
    check(page_of(comparison.words(frame), comparison.words(more)), "best", "second")


def test_the_page_of_an_unfinished_run_and_the_list_of_runs_show_names_notes_and_messages_as_they_are(home):
    run = Run(f"odd/a{NAME}")
    resolved_of(run)
    run.history.save([row | {"loss_segmentation": 0.5, "loss_decision": 0.5, f"loss_{outside('column')}": 0.4} for row in HISTORY])
    run.log.add(outside("log"))
    params = json.loads(run.params.path.read_text())
    params["data"] |= {"title": outside("title"), "test_title": outside("tested")}
    run.params.path.write_text(json.dumps(params | {"encoder": outside("encoder"), "epochs": outside("epochs")}))
    run.provenance.save({"training": {"started": outside("started")}})
    Run(f"beside{NAME}").notebook("compare").parent.mkdir()
    Run(f"beside{NAME}").notebook("compare").touch()
    for name in (run.name, f"beside{NAME}"):
        report_dir(name).mkdir(parents=True)
        (report_dir(name) / "index.html").touch()
    write_index()
    listed = check((home / "report" / "index.html").read_text(encoding="utf-8"), "tested", "encoder", "epochs", "started")
    assert f"odd/a{NAME}" in listed.text and f"Comparisons beside{NAME}" in listed.text
    page = to_html(unfinished(run, f"explore.ipynb stopped. DataError: no mask for {outside('message')}"))
    assert f"Run odd/a{NAME} did not finish" in check(page, "note", "column", "log", "message").text


def test_plots_write_names_as_they_are():
    """matplotlib alone takes dollar signs for a formula, and fails if it cannot read the formula."""
    history = pd.DataFrame(HISTORY).assign(**{f"loss_{outside('column')}": 0.4, "val_decision_ap": 0.5})
    for draw in (
        lambda ax: plot_curves({outside("group"): [history]}, "loss", outside("axis"), ax),
        lambda ax: plot_loss(history, "loss", outside("label"), ax),
        lambda ax: plot_validation(history, ax),
    ):
        fig, ax = figure()
        draw(ax)
        check(to_svg(fig))
        assert "Q" in Shown(to_svg(fig)).text


def strange_run(root, name, **values):
    run = train_run(small_params(root, epochs=1, evaluate_negatives=True, hard_negative_mining=0, **values), name, parts=TINY)
    evaluate_run(run, build_model=TINY.build_model)
    return run


@pytest.mark.slow
def test_every_page_of_a_strangers_run_shows_its_texts_as_they_are(home, tmp_path):
    root = write_dataset(tmp_path / outside("data"))
    for number, path in enumerate(sorted((root / "testcrop").glob("*.jpg"))):
        for each in (path, path.with_suffix(".png")):
            each.rename(each.with_name(f"{outside(f'stem{number}', MARKS)}{each.suffix}"))
    (tmp_path / outside("negatives")).mkdir()
    values = {"architecture": "unet", "negatives_root": str(tmp_path / outside("negatives"))}
    names = [f"odd/{letter}{NAME}" for letter in "abc"]
    run, *_ = [
        strange_run(root, name, encoder=outside(encoder), seed=seed, **values)
        for name, encoder, seed in zip(names, ("encoder", "encoder", "other"), (0, 1, 0), strict=True)
    ]
    params, metrics = json.loads(run.params.path.read_text()), run.metrics.load()
    assert any("Qnegatives" in note for note in params["data"]["notes"])
    params |= {name: outside(name) for name in ("device", "delta_cls_loss")}
    params["data"] |= {name: outside(name) for name in ("title", "test_title")}
    run.params.path.write_text(json.dumps(params))
    run.metrics.path.write_text(json.dumps(metrics))
    run.history.path.write_text(run.history.path.read_text().replace("learning_rate", f'"loss_{outside("column")}"'.replace('"o', '""o')))
    run.log.add(outside("log"))
    execute_and_render(run.params.load(), run)
    compare(names, f"beside{NAME}", missing=["<u>_o_", "$o$", "`o`"])
    pages = {name: (report_dir(run.name) / page_name(name)).read_text(encoding="utf-8") for name in NOTEBOOKS}
    check(pages["explore"], "stem0", "negatives")
    check(pages["train"], "negatives", "device", "column", "log", "delta_cls_loss")
    check(pages["report"], "title", "test_title", "device", "encoder", "column", "log", "delta_cls_loss", "stem0")
    for name in ("evaluate", "visualize"):
        assert f"Run odd/a{NAME}" in check(pages[name], "stem0", "negatives").text
    assert "<title>Results of training on Qtitle" in pages["report"]
    check((home / "report" / "index.html").read_text(encoding="utf-8"), "test_title", "encoder")
    beside = check((report_dir(f"beside{NAME}") / "index.html").read_text(encoding="utf-8"), "encoder", "other", "negatives")
    assert "left out: <u>_o_, $o$, `o`." in beside.text
