"""The exporter on notebooks made by hand."""

import base64
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from crack_utils.reporting.exporter import diagnose
from crack_utils.reporting.html import to_figure
from crack_utils.reporting.pages import to_html
from crack_utils.reporting.pictures import cases
from crack_utils.reporting.plots import BLUE, describe, figure, readings, to_svg
from crack_utils.store import Example

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def notebook_of(*cells, **metadata):
    return new_notebook(cells=list(cells), metadata={"title": "A <title>", **metadata})


def code_cell(source, *outputs, tags=(), answered=True):
    execution = {"execution": {"shell.execute_reply": "then"}} if answered else {}
    return new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags), **execution})


def html_output(text):
    return new_output("display_data", {"text/html": text})


def chart(key="loss", look="Look at the end."):
    fig, ax = figure()
    ax.plot([1, 2, 3], [0.7, 0.5, 0.4], label="loss", color=BLUE)
    ax.axvline(2, label="chosen")
    ax.set(xlabel="epoch", ylabel="loss")
    about = {"key": key, "look": look, "caption": "The <loss>.", "alt": describe(fig), "width": 640, "series": readings(fig)}
    return new_output("display_data", {"image/svg+xml": to_svg(fig), "image/png": DOT}, metadata={"image/svg+xml": about})


def test_a_page_is_one_file_that_asks_no_host():
    page = to_html(notebook_of(new_markdown_cell("# Hello\n\n[a link](https://example.org)")))
    assert "<title>A &lt;title&gt;</title>" in page
    assert '<h1 id="hello">Hello</h1>' in page
    assert not [word for word in ("src=", "@import", "url(") if f'{word}"http' in page or f"{word}http" in page]


def test_only_the_pages_own_scripts_may_run():
    page = to_html(notebook_of(new_markdown_cell("# Hello")))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(default-src[^"]+)"', page)[1]
    assert "default-src 'none'" in policy
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 3
    for script in scripts:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_jupyter_nbconvert_knows_the_exporter_by_its_name(tmp_path):
    nbformat.write(notebook_of(new_markdown_cell("# Mine\n\n## First\n\n$a_1$")), tmp_path / "mine.ipynb")
    words = [Path(sys.executable).parent / "jupyter", "nbconvert", "--to", "crack_report", tmp_path / "mine.ipynb"]
    subprocess.run(words, check=True, capture_output=True)
    page = (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert '<li class="level-2"><a href="#first">First</a></li>' in page
    assert "<msub>" in page


def test_formulas_become_mathml_and_what_cannot_stays_readable():
    page = to_html(notebook_of(new_markdown_cell(r"Of $F_1$ and $$\frac{2\,TP}{2\,TP + FP + FN}$$ but $\left( 1 <b$.")))
    assert page.count("<math") == 2
    assert 'display="block"' in page
    assert "<mfrac>" in page
    assert r"<code>\left( 1 &lt;b</code>" in page


def test_what_nbconvert_does_not_document_still_does_what_the_exporter_needs():
    formulas = r"$a_1$ \\(b_2\\) $$c_3$$ \\[d_4\\] \begin{align}e_5\end{align}"
    text = f"## Kept\n\n{formulas}\n\n![dot](attachment:dot.png)\n\n```python\nx = 1\n```"
    page = to_html(notebook_of(new_markdown_cell(text, attachments={"dot.png": {"image/png": DOT}})))
    assert page.count("<math") == page.count("<msub>") == 5
    assert page.count('<div class="formula"') == 3
    assert '<h2 id="kept">Kept</h2>' in page
    assert f'<img src="data:image/png;base64,{DOT}" alt="dot"' in page
    assert '<div class="highlight"><pre tabindex="0">' in page


def test_a_widget_is_shown_as_text_unless_the_notebook_keeps_its_state():
    view, state = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"
    cell = code_cell("show()", new_output("display_data", {view: {"model_id": "m"}, "text/plain": "IntSlider(value=3)"}))
    assert "IntSlider(value=3)" in to_html(notebook_of(cell))
    page = to_html(notebook_of(cell, widgets={state: {"state": {"m": {}}}}))
    assert "IntSlider" not in page and "This tool works only in the notebook, with a running kernel." in page


def test_the_exporter_imports_without_torch():
    check = "import sys, crack_utils.reporting.exporter; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


def test_headings_are_named_and_listed_once_each():
    page = to_html(notebook_of(new_markdown_cell("# Title\n\n## Losses & more\n\n## Losses & more\n\n### `Deep`")))
    listed = re.search(r"<ol>(.*?)</ol>", page)[1]
    assert re.findall(r'href="#([^"]+)">([^<]+)<', listed) == [
        ("losses-more", "Losses &amp; more"),
        ("losses-more-2", "Losses &amp; more"),
        ("deep", "Deep"),
        ("provenance", "Provenance"),
    ]
    assert all(page.count(f'id="{name}"') == 1 for name in ("losses-more", "losses-more-2", "deep", "provenance"))


def test_figures_and_tables_are_numbered_and_referred_to():
    import pandas as pd

    table = html_output(to_figure(pd.DataFrame({"a": [1]}), "counts", "Counts.", folded=True))
    page = to_html(
        notebook_of(
            new_markdown_cell("As [the loss](#fig-loss) and [counts](#tbl-counts) show, but not [this](#fig-none)."),
            code_cell("show()", table, chart(), chart("second")),
        )
    )
    assert '<a href="#fig-loss">the loss (Figure 1)</a>' in page
    assert '<a href="#tbl-counts">counts (Table 1)</a>' in page
    assert "but not this." in page
    assert '<span class="number">Figure 2.</span> The &lt;loss&gt;.' in page
    assert '<span class="number">Table 1.</span> Counts.' in page
    assert page.count('id="fig-second"') == 1


def test_a_plot_takes_the_themes_colours_and_keeps_its_own_for_print():
    page = to_html(notebook_of(code_cell("show()", chart(), chart("second"))))
    svg = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert "var(--plot-blue, #0072b2)" in svg[0]
    assert "var(--plot-paper, #ffffff)" in svg[0]
    assert 'width="' not in svg[0].split(">")[0]
    names = [set(re.findall(r'id="([^"]+)"', each)) for each in svg]
    assert names[0] and not names[0] & names[1]
    assert set(re.findall(r"url\(#([^)]+)\)", svg[1])) <= names[1]
    assert DOT not in page  # the same picture is not embedded twice


def test_a_plot_carries_its_words_and_its_readings():
    page = to_html(notebook_of(code_cell("show()", chart())))
    assert "Curves of loss: from 0.7 to 0.4, between 0.4 and 0.7." in page
    assert "<p>Look at the end.</p>" in page
    assert re.search(r"data-series='[^']*\"y\": \[0.7, 0.5, 0.4\]", page)
    assert "chosen" not in re.search(r"data-series='([^']*)'", page)[1]  # a mark across the axes is no curve


def test_readings_lie_where_the_plot_draws_them():
    fig, ax = figure(4, 2)
    ax.plot([0, 1], [0, 1])
    ax.set(xlim=(0, 1), ylim=(0, 1), ylabel="score")
    (curve,) = readings(fig)
    box = ax.get_position()
    assert curve["label"] == "score"
    assert curve["left"] == pytest.approx([box.x0, box.x1], abs=1e-3)
    assert curve["top"] == pytest.approx([1 - box.y0, 1 - box.y1], abs=1e-3)


def test_pictures_of_others_carry_their_caption_and_alternative_text():
    about = {"image/png": {"alt": 'a "dot"', "caption": "One <dot>.", "width": 900}}
    figure = new_output("display_data", {"image/png": DOT, "text/plain": "x"}, metadata=about)
    page = to_html(notebook_of(code_cell("show()", figure)))
    assert 'alt="a &quot;dot&quot;"' in page or "alt='a \"dot\"'" in page or 'alt="a &#34;dot&#34;"' in page
    assert "One &lt;dot&gt;.</figcaption>" in page


def test_a_picture_that_two_examples_show_is_embedded_once(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random((20, 30)) > 0.9
    example = Example("a", rng.integers(0, 255, (20, 30, 3), np.uint8), mask, rng.random((20, 30)).astype(np.float32), 0.6, 0.3, 0.5, True)
    shown = [cases([example], kind)[0] for kind in ("worst", "best")]
    page = to_html(notebook_of(code_cell("show()", *(html_output(f'<figure class="gallery">{text}</figure>') for text in shown))))
    embedded = re.findall(r'href="(data:[^"]+)"', page.split("<main")[1])
    assert len(embedded) == len(set(embedded)) == 4  # image, truth, levels, errors
    for kind in ("photo", "truth", "levels", "errors"):
        assert f'<use id="{kind}-best-0" href="#{kind}-worst-0">' in page


def test_tags_keep_cells_and_outputs_out_of_the_page():
    stream = new_output("stream", text="progress\n")
    page = to_html(
        notebook_of(
            code_cell("widget()", new_output("stream", text="slider_moved\n"), tags=["interactive"]),
            new_markdown_cell("only here", metadata={"tags": ["notebook-only"]}),
            code_cell("train()", stream, tags=["live"]),
            code_cell("long()", new_output("stream", text="line\n" * 40)),
        )
    )
    assert not [word for word in ("slider_moved", "widget()", "only here", "progress") if word in page]
    assert '<div class="code">' in page
    assert "Output (40 lines)" in page


def test_an_error_is_said_on_top_and_shown_in_its_place_with_its_traceback_folded():
    error = new_output("error", ename="DataError", evalue="no <mask>", traceback=["\x1b[31mline 1\x1b[0m"])
    stream = new_output("stream", text="Epoch 1\n")
    page = to_html(notebook_of(code_cell("train()", stream, tags=["live"]), code_cell("x", error)))
    top = page[page.index("<main") :].split("</div>")[0]
    assert "<strong>Not finished.</strong> This notebook stopped in code cell 2 of 2: DataError: no &lt;mask&gt;" in top
    assert "<strong>DataError</strong>: no &lt;mask&gt;" in page
    assert "<summary>Traceback</summary>" in page
    assert "Epoch 1" in page  # what was printed live is all there is now


def test_a_notebook_whose_kernel_died_says_so_though_papermill_calls_it_completed():
    about = {"end_time": "then", "exception": None, "start_time": "before", "duration": 3.2, "version": "2.7.0", "parameters": {"a": 1}}
    cells = [code_cell("1"), code_cell("die()", answered=False), code_cell("2", answered=False)]
    page = to_html(notebook_of(*cells, papermill=about))
    assert "This notebook did not finish: in code cell 2 of 3 the kernel died or was stopped, or time ran out." in page
    whole = to_html(notebook_of(code_cell("1"), code_cell("", answered=False), papermill=about))
    assert "Not finished" not in whole
    assert "<dt>Duration</dt><dd>3 s</dd>" in whole
    assert diagnose(notebook_of(code_cell("1", answered=False))) is None  # run by hand: nothing is known


def test_results_of_expressions_are_shown():
    result = new_output("execute_result", {"text/html": "<b>bold</b>", "text/plain": "x"}, execution_count=1)
    assert "<b>bold</b>" in to_html(notebook_of(code_cell("x", result)))


def test_what_others_notebooks_hold_is_shown_and_its_names_are_kept():
    page = to_html(
        notebook_of(
            new_markdown_cell('<h2 id="keep" class="x">Mine</h2>\n\n[there](#keep)'),
            code_cell("1", new_output("display_data", {"text/latex": "$x_1$", "image/png": DOT, "text/plain": "x"})),
            code_cell("2", html_output('<figure id="own"><figcaption>Other.</figcaption></figure>')),
            code_cell("3", new_output("error", ename="Meant", evalue="", traceback=[]), tags=["raises-exception"]),
        )
    )
    assert '<a href="#keep">Mine</a>' in page
    assert page.count('id="keep"') == 1
    assert "<msub>" in page
    assert '<figure id="own">' in page
    assert "Not finished" not in page


def test_malformed_html_of_an_output_leaves_the_rest_of_the_page_whole():
    odd = ("<table><tr><td>1", "<b>bold", "<![odd> 1", "<!-- <h2>no</h2> -->", "<h2>open", "<pre><h2>no</h2>", "2 < 3 <", "</p></b>")
    page = to_html(notebook_of(*(code_cell("show()", html_output(text)) for text in odd), new_markdown_cell("## Last\n\nend")))
    assert re.findall(r'<li class="level-2"><a href="#([^"]+)"', page) == ["last", "provenance"]
    assert [page.count(f"<{tag}") - page.count(f"</{tag}>") for tag in ("div", "table", "pre", "main", "section")] == [0] * 5
    assert "</table>" in page and "2 < 3 <" in page
