"""Writes what a classifier says of a clip: one row of probabilities a frame, and their mean."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossprobe.prediction.class_reader import ClassAnswer, ClassifiedFrame, ClassReader

PROBABILITY = "p_"


def answer_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Names the columns of an answer.

    Args:
        classes: Names of the classes.

    Returns:
        `class`, `p_<class>` for each class, `confidence` and `read`.
    """
    return ("class", *(PROBABILITY + name for name in classes), "confidence", "read")


def class_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Names the columns of the table of frames."""
    return ("file", "output", "frame", "height", "width", *answer_columns(classes))


def answer_row(answer: ClassAnswer) -> dict[str, Any]:
    """Writes an answer as one row.

    Args:
        answer: Of a frame or a clip.

    Returns:
        Values by the names of `answer_columns`; probabilities as numbers.
    """
    values = (answer.name, *(float(value) for value in answer.probabilities), answer.confidence, answer.read)
    return dict(zip(answer_columns(answer.classes), values, strict=True))


class ClassTable:
    """The rows of one clip, as CSV, and the clip's own answer: the mean over its frames.

    Args:
        path: The file.
        file: Name of the input, as the user knows it.
        output: Name of the folder of its outputs.
        reader: The classifier.
    """

    def __init__(self, path: Path, file: str, output: str, reader: ClassReader) -> None:
        self.file, self.output, self.reader = file, output, reader
        self.stream = open(path, "w", newline="", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self.rows = csv.writer(self.stream)
        self.rows.writerow(class_columns(reader.classes))
        self.frames = self.to_read = 0
        self.total = np.zeros(len(reader.classes))

    def add(self, classified: ClassifiedFrame) -> None:
        """Writes a row."""
        shown = (
            f"{value:.6f}" if isinstance(value, float) else value
            for value in answer_row(classified.answer).values()
        )
        self.rows.writerow([self.file, self.output, classified.frame, *classified.shape, *shown])
        self.frames += 1
        self.to_read += bool(classified.answer.read)
        self.total += classified.answer.probabilities

    def clip(self) -> dict[str, Any]:
        """The answer for the whole clip; empty before the first frame."""
        if not self.frames:
            return {}
        row = answer_row(self.reader.answer(self.total / self.frames))
        return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}

    def close(self) -> None:
        """Finishes the table."""
        self.stream.close()

    def abandon(self) -> None:
        """Closes the file."""
        self.stream.close()
