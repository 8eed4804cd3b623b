"""DICOM ultrasound: frames and pixel spacing, and nothing else of the file.

Only tags about pixels are read. Names, dates, institutions and other identity tags are never copied, logged
or put into an error.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels import iter_pixels
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from crossprobe.errors import UnreadableMedia

# pydicom's warnings may quote the value of a tag or the file's name; what we say ourselves does not.
warnings.filterwarnings("ignore", module="pydicom")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

CENTIMETRES = 3
PIXEL_TAGS = [
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "Columns",
    "Rows",
    "ImagerPixelSpacing",
    "LossyImageCompression",
    "NumberOfFrames",
    "PaletteColorLookupTableUID",
    "PhotometricInterpretation",
    "PixelData",
    "PixelRepresentation",
    "PixelSpacing",
    "PlanarConfiguration",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "RescaleIntercept",
    "RescaleSlope",
    "SamplesPerPixel",
    "SequenceOfUltrasoundRegions",
    "WindowCenter",
    "WindowWidth",
]
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def is_dicom(path: Path) -> bool:
    """Tells a DICOM file by its preamble, whatever its name.

    Args:
        path: The file.

    Returns:
        Whether bytes 128 to 132 read `DICM`.
    """
    with open(path, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_frames(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes a DICOM file frame by frame.

    Monochrome of other than 8 bits goes through the rescale and window tags where they are, else the range
    that `BitsStored` gives is mapped to 0-255, the same for all frames. MONOCHROME1 is inverted. Colour (RGB,
    YBR, palette) becomes luminance. A file cut short gives the frames before the first that does not decode
    and then ends: compare with `promised_frames`.

    Args:
        path: The file.

    Yields:
        The frame's number from 0, and its pixels: [H, W], uint8.

    Raises:
        UnreadableMedia: Not DICOM, no pixels, or no frame that can be decoded.
    """
    header = _header(path, specific=PIXEL_TAGS, stop_before_pixels=False)
    decoded = iter_pixels(path)
    index = 0
    while True:
        try:
            frame = _grey(next(decoded), header)
        except StopIteration:
            return
        except Exception as error:
            # Out of memory or a failing disk says nothing about where the file ends.
            if index and not isinstance(error, (OSError, MemoryError)):
                return
            raise _undecodable(path, header, error) from None
        yield index, frame
        index += 1


def promised_frames(path: Path) -> int:
    """Reads how many frames the header promises.

    Args:
        path: The file.

    Returns:
        The number of frames, 1 where the tag is missing.
    """
    header = _header(path, specific=["NumberOfFrames"], stop_before_pixels=True)
    return int(header.get("NumberOfFrames") or 1)


def spacing_mm(path: Path) -> float | None:
    """Reads the side of a pixel.

    Args:
        path: The file.

    Returns:
        Mm per px from the first B-mode region given in centimetres, else from `PixelSpacing`, else None. None
        also where rows and columns differ by more than 2 %, because one figure would then be wrong.
    """
    tags = ["SequenceOfUltrasoundRegions", "PixelSpacing"]
    header = _header(path, specific=tags, stop_before_pixels=True)
    pair: tuple[float, float] | None = None
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        deltas = (region.get("PhysicalDeltaX"), region.get("PhysicalDeltaY"))
        if units == (CENTIMETRES, CENTIMETRES) and None not in deltas:
            pair = (10 * abs(float(deltas[0])), 10 * abs(float(deltas[1])))
            break
    spacing = header.get("PixelSpacing")
    if pair is None and spacing is not None and len(spacing) == 2:
        pair = (float(spacing[0]), float(spacing[1]))
    if pair is None or min(pair) <= 0 or max(pair) / min(pair) > 1.02:
        return None
    return sum(pair) / 2


def _header(path: Path, specific: list[str], stop_before_pixels: bool) -> Dataset:
    try:
        # Deferred: the pixels of a long clip would otherwise lie in memory twice.
        return pydicom.dcmread(
            path, defer_size="64 KB", specific_tags=specific, stop_before_pixels=stop_before_pixels
        )
    except InvalidDicomError:
        raise UnreadableMedia(f"{path}: not a DICOM file (no DICM preamble)") from None
    except Exception as error:
        raise UnreadableMedia(f"{path}: a broken DICOM file ({type(error).__name__})") from None


def _undecodable(path: Path, header: Dataset, error: Exception) -> UnreadableMedia:
    # Compressed pixels that break off are missing from the header too; only without any does pydicom say so.
    if isinstance(error, AttributeError) and "PixelData" not in header:
        what = "a DICOM file without pixels; export the clip itself, not a report or index"
    else:
        # The text of the decoder's error may quote tags, so only its kind is passed on.
        what = f"DICOM pixels cannot be decoded ({type(error).__name__})"
    return UnreadableMedia(f"{path}: {what}")


def _grey(frame: np.ndarray, header: Dataset) -> np.ndarray:
    photometric = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        frame = apply_color_lut(frame, header)
    bits = int(header.get("BitsStored", 8))
    if frame.ndim == 3:
        # A palette's colours have the depth of its table; `BitsStored` is then that of the indices.
        depth = 8 * frame.dtype.itemsize if photometric == "PALETTE COLOR" else bits
        levels = frame.astype(np.float32) @ LUMA
        return np.clip(np.rint(levels * (255 / (2**depth - 1))), 0, 255).astype(np.uint8)
    levels = frame if bits == 8 and frame.dtype == np.uint8 else _windowed(frame, header, bits)
    return 255 - levels if photometric == "MONOCHROME1" else levels


def _windowed(frame: np.ndarray, header: Dataset, bits: int) -> np.ndarray:
    signed = int(header.get("PixelRepresentation", 0)) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    bounds = np.array([low, high])
    if "WindowCenter" in header and "WindowWidth" in header:
        values = apply_voi_lut(apply_modality_lut(frame, header), header)
        bounds = np.sort(apply_voi_lut(apply_modality_lut(bounds, header), header))
    else:
        values = frame
    span = max(float(bounds[1]) - float(bounds[0]), 1.0)
    return np.clip(np.rint((values - float(bounds[0])) * 255 / span), 0, 255).astype(np.uint8)
