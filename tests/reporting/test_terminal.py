"""The table of arms in 80 columns."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from crossprobe.reporting.terminal import print_arms, print_choice, print_result
from crossprobe.reporting.wording import NO_ACCURACY, UNMEASURED


def printed(arms, report=None) -> str:
    console = Console(file=StringIO(), width=80, no_color=True)
    print_arms(arms, report, console)
    return console.file.getvalue().replace("\u00a0", " ")


def test_every_arm_with_its_target_interval_and_the_reports_place(study):
    text = printed(study.arms, Path("data/08_reporting/cross_domain/report.html"))
    row = study.row("mt_nxent")
    assert f"{row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}]" in text
    assert "Target-supervised reference" in text
    assert "Report: data/08_reporting/cross_domain/report.html" in text
    assert "\u2026" not in text, "nothing is cut off"
    assert max(map(len, text.splitlines())) <= 80


def test_a_single_site_and_odd_names(make_inputs, make_frames):
    frames = make_frames({"[red]x[/red]": (0.8, 0.7)}, 6).query("site == 'target'")
    assert "[red]x[/red]" in printed(make_inputs(frames).arms)


def test_a_target_without_test_labels_is_said(study, make_inputs, frames):
    assert UNMEASURED not in printed(study.arms)
    text = printed(make_inputs(frames.query("site == 'source'")).arms)
    assert UNMEASURED in " ".join(text.split())
    assert "target\n" not in text


def test_the_order_without_labels_is_no_accuracy(study):
    console = Console(file=StringIO(), width=80, no_color=True)
    print_choice(study.label_free, console)
    text = " ".join(console.file.getvalue().split())
    assert text.endswith(NO_ACCURACY)
    assert text.index("MT-NXent") < text.index("Source only")


def test_sentences_are_printed_as_they_are(capsys):
    print_result(["DANN: domain accuracy is 0.520 [0.4, 0.6] at the end.", "Zero-shift control: it holds."])
    text = " ".join(capsys.readouterr().out.split())
    assert text == "- DANN: domain accuracy is 0.520 [0.4, 0.6] at the end. - Zero-shift control: it holds."
