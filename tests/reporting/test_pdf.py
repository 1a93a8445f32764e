"""Pages as PDF files."""

import pytest
from conftest import run_command

from crack_utils.errors import UserError
from crack_utils.reporting.pages import print_pdf


@pytest.mark.slow
def test_the_write_up_prints_to_pdf_and_says_so_where_no_browser_is(sample_run):
    _, folder, _ = sample_run
    done = run_command(folder.parents[1], "render", "sample", "--pdf", timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"PDF: {folder / 'index.pdf'}"
    assert (folder / "index.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "index.pdf").stat().st_size > 50_000
    done = run_command(folder.parents[1], "render", "sample", "--pdf", timeout=600, PATH="/nowhere")
    assert done.returncode == 1
    assert "no PDF: none of chromium, " in done.stderr


@pytest.mark.parametrize(("script", "message"), [("exit 3", "failed"), ("exit 0", "failed")])
def test_a_browser_that_prints_nothing_is_told_and_an_old_pdf_is_not_taken_for_a_new_one(tmp_path, monkeypatch, script, message):
    (tmp_path / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "index.pdf").write_text("old")
    with pytest.raises(UserError, match=message):
        print_pdf(tmp_path / "index.html")
    assert not (tmp_path / "index.pdf").exists()
