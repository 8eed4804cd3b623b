"""`crossprobe predict`: masks, or classes, for new files; no labels, no questions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from crossprobe.command_line.project import ENVIRONMENT, configuration, table_width, tracking_uri


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--model", help="models:/NAME@champion, models:/NAME/VERSION, or a folder; else the champion.")
@click.option("--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder.")
@click.option("--masks/--no-masks", default=None, help="Masks as PNG, 0 and 255, native size.")
@click.option("--confidence/--no-confidence", default=None, help="Confidence maps as PNG.")
@click.option(
    "--overlay-video/--no-overlay-video", "overlay", default=None, help="Outlines drawn in (mp4, PNG)."
)
@click.option("--nifti/--no-nifti", default=None, help="Masks of a clip as NIfTI.")
@click.option("--dicom-seg/--no-dicom-seg", default=None, help="Masks of a clip as DICOM segmentation.")
@click.option("--table", type=click.Choice(["csv", "parquet"]), help="Format of the tables.")
@click.option(
    "--spacing-mm", type=click.FloatRange(min=0, min_open=True), help="Side of a pixel where unknown."
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Frames a forward pass.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where to compute.")
@ENVIRONMENT
def predict(
    paths: tuple[Path, ...],
    model: str | None,
    output: Path,
    env: str | None,
    device: str | None,
    **options: Any,
) -> None:
    """Predicts masks, or classes, on images, videos, DICOM files, and folders of them.

    A classifier writes tables alone: what is said of masks here does not concern it.

    What is not said here is as `prediction` in the parameters says. A file that cannot be used is a row in
    files.csv with its reason; the rest goes on. The exit status is 1 if nothing could be predicted.
    """
    # Before the project's folder becomes the working folder.
    paths, output = tuple(path.absolute() for path in paths), output.absolute()
    if model and not model.startswith("models:"):
        model = str(Path(model).absolute())
    loader = configuration(env)
    from crossprobe.pipelines.predict.prediction import run_prediction
    from crossprobe.pipelines.predict.settings import PredictJob
    from crossprobe.prediction.predict_files import PREDICTED

    given = loader["parameters"]["prediction"]
    given = {**given, "paths": [str(path) for path in paths], "output": str(output)}
    given |= {"model": model} if model else {}
    job = _changed(PredictJob.model_validate(given), options)
    from crossprobe.training.settings import RuntimeSettings

    runtime = RuntimeSettings.model_validate(loader["parameters"]["runtime"])
    if device:
        runtime = runtime.model_copy(update={"device": device})
    title, files = run_prediction(job, tracking_uri(loader), runtime)
    _show(title, files, output)
    if not (files["status"] == PREDICTED).any():
        raise SystemExit(1)


def _changed(job: Any, options: dict[str, Any]) -> Any:
    """Lets options of the command line override parameters."""
    given = {name: value for name, value in options.items() if value is not None}
    fields = set(type(job.settings.outputs).model_fields)
    outputs = job.settings.outputs.model_copy(
        update={name: value for name, value in given.items() if name in fields}
    )
    rest = {name: value for name, value in given.items() if name not in fields}
    return job.model_copy(update={"settings": job.settings.model_copy(update={"outputs": outputs, **rest})})


def _show(title: str, files: Any, output: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # What a classifier says of the whole file.
    said_of = ("class", "confidence") if "class" in files else ()
    table = Table("file", "status", *said_of, "frames", "to read", "reason", title=title)
    for row in files.fillna(dict.fromkeys(said_of, "")).to_dict("records"):
        answer = (str(row[name]) for name in said_of)
        shown = (row["file"], row["status"], *answer, str(row["frames"]), str(row["to_read"]), row["reason"])
        table.add_row(*(escape(value) for value in shown))
    Console(width=table_width()).print(table)
    counts = files["status"].value_counts()
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    click.echo(f"{said}; {files['to_read'].sum()} of {files['frames'].sum()} frames to read by a person")
    click.echo(f"results: {os.path.relpath(output) if output.is_relative_to(Path.cwd()) else output}")
