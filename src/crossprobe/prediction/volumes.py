"""All masks of a clip in one file: NIfTI, or a DICOM segmentation without any patient's tags."""

from __future__ import annotations

import copy
import gzip
import importlib.metadata
import shutil
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossprobe.errors import CrossprobeError
from crossprobe.prediction.judged import Judged

LARGEST_SEGMENTATION = 5000
LARGEST_NIFTI_1 = 32767
COPIED_BYTES = 1 << 20
MULTI_FRAME_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.3.1"
SINGLE_FRAME_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
FRAME_CONTENT, IN_STACK_POSITION = 0x00209111, 0x00209057
INSTALL = 'install it, from the checkout of crossprobe: pip install -e ".[formats]"'


class VolumeSink:
    """Collects masks on disk and writes the wanted files at the end.

    Args:
        folder: Where the files go.
        output: Pseudonym of the clip, the patient id of the segmentation.
        spacing_mm: Side of a pixel; 1 stands in the NIfTI header where it is unknown.
        nifti: Write `masks.nii.gz`.
        dicom_seg: Write `masks.dcm`.

    Raises:
        CrossprobeError: A library is missing.
    """

    def __init__(
        self, folder: Path, output: str, spacing_mm: float | None, nifti: bool, dicom_seg: bool
    ) -> None:
        require_formats(nifti, dicom_seg)
        self.folder, self.output, self.spacing_mm = folder, output, spacing_mm
        self.nifti, self.dicom_seg = nifti, dicom_seg
        self.raw = folder / ".masks.raw"
        self.stream = open(self.raw, "wb")  # noqa: SIM115 - closed by close()
        self.shape: tuple[int, int] = (0, 0)
        self.numbers = array("q")

    def add(self, judged: Judged) -> None:
        """Appends a mask; all masks of a clip are of one size."""
        mask = judged.prediction.mask
        self.shape = (mask.shape[0], mask.shape[1])
        self.numbers.append(judged.prediction.frame)
        self.stream.write(np.ascontiguousarray(mask, np.uint8).data)

    def close(self) -> None:
        """Writes the files and deletes the scratch file.

        Raises:
            CrossprobeError: More frames than a segmentation is made of.
        """
        self.stream.close()
        if self.numbers:
            shape = (len(self.numbers), *self.shape)
            if self.nifti:
                write_nifti(self.raw, shape, self.spacing_mm, self.folder / "masks.nii.gz")
            if self.dicom_seg:
                path = self.folder / "masks.dcm"
                write_segmentation(self.raw, shape, self.numbers, self.spacing_mm, self.output, path)
        self.raw.unlink()

    def abandon(self) -> None:
        """Closes the scratch file."""
        self.stream.close()


def require_formats(nifti: bool, dicom_seg: bool) -> None:
    """Says early that a library is missing.

    Args:
        nifti: nibabel is needed.
        dicom_seg: highdicom is needed.

    Raises:
        CrossprobeError: It is not installed.
    """
    import importlib.util

    for wanted, library in ((nifti, "nibabel"), (dicom_seg, "highdicom")):
        if wanted and importlib.util.find_spec(library) is None:
            raise CrossprobeError(f"{library} is needed for this format; {INSTALL}")


def write_nifti(raw: Path, shape: tuple[int, int, int], spacing_mm: float | None, path: Path) -> None:
    """Writes masks as NIfTI: x is the column, y the row, z the frame.

    The bytes of the scratch file have that order already, so they are copied behind a header.

    Args:
        raw: File of uint8 [N, H, W] of 0 and 1.
        shape: N, H, W.
        spacing_mm: Side of a pixel, mm; None leaves 1 in the header and the unit unset.
        path: The file, `.nii.gz`.
    """
    import nibabel

    frames, height, width = shape
    kind = nibabel.Nifti2Header if max(shape) > LARGEST_NIFTI_1 else nibabel.Nifti1Header
    header = kind()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((width, height, frames))
    side = spacing_mm or 1.0
    header.set_zooms((side, side, 1.0))
    header.set_sform(np.diag([side, side, 1.0, 1.0]), code="scanner")
    header.set_xyzt_units(xyz="mm" if spacing_mm else "unknown")
    header.set_data_offset(header.single_vox_offset)
    with gzip.open(path, "wb", compresslevel=6) as stream, open(raw, "rb") as masks:
        header.write_to(stream)
        stream.write(bytes(header.single_vox_offset - stream.tell()))
        shutil.copyfileobj(masks, stream, COPIED_BYTES)


def write_segmentation(
    raw: Path,
    shape: tuple[int, int, int],
    numbers: Sequence[int],
    spacing_mm: float | None,
    patient_id: str,
    path: Path,
) -> None:
    """Writes masks as a DICOM segmentation.

    The clip it refers to gets fresh UIDs, and the patient is a pseudonym: no tag of a DICOM input is copied,
    its UIDs neither, because they lead back to the patient.

    Args:
        raw: File of uint8 [N, H, W] of 0 and 1.
        shape: N, H, W.
        numbers: Of the frames in the clip, from 0.
        spacing_mm: Side of a pixel, mm, where known.
        patient_id: Pseudonym.
        path: The file, `.dcm`.

    Raises:
        CrossprobeError: More frames than are taken.
    """
    if len(numbers) > LARGEST_SEGMENTATION:
        raise CrossprobeError(
            f"{len(numbers)} frames are more than the {LARGEST_SEGMENTATION} that one DICOM segmentation is "
            "made of here; ask for NIfTI or PNG"
        )
    first = next(_blocks(raw, shape, 1))
    segmentation = _first_frame(first, spacing_mm, patient_id)
    _add_frames(segmentation, numbers)
    # Frames follow one another bit by bit; eight frames at a time end on a whole byte.
    packed = (np.packbits(block.ravel(), bitorder="little").tobytes() for block in _blocks(raw, shape, 8))
    bits = b"".join(packed)
    segmentation.PixelData = bits + b"\0" * (len(bits) % 2)
    segmentation.save_as(path)


def _first_frame(mask: np.ndarray, spacing_mm: float | None, patient_id: str) -> Any:
    """Makes a segmentation of one frame: highdicom makes several only where they have a place in space."""
    import highdicom
    from pydicom.sr.codedict import codes

    version = importlib.metadata.version("crossprobe")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="crossprobe", version=version, family=codes.cid7162.ArtificialIntelligence
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="predicted",
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
    )
    return highdicom.seg.Segmentation(
        source_images=[_anonymous_clip(mask.shape, spacing_mm, patient_id)],
        pixel_array=mask,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="crossprobe",
        manufacturer_model_name="crossprobe",
        software_versions=version,
        device_serial_number="0",
        omit_empty_frames=False,
    )


def _add_frames(segmentation: Any, numbers: Sequence[int]) -> None:
    """Puts all frames in the place of the one, as a stack along the number of the frame."""
    from pydicom.dataset import Dataset

    stack = Dataset()
    first = segmentation.DimensionIndexSequence[0]
    stack.DimensionOrganizationUID = first.DimensionOrganizationUID
    stack.DimensionIndexPointer, stack.FunctionalGroupPointer = IN_STACK_POSITION, FRAME_CONTENT
    stack.DimensionDescriptionLabel = "In-Stack Position Number"
    segmentation.DimensionIndexSequence.append(stack)
    pattern = segmentation.PerFrameFunctionalGroupsSequence[0]
    groups = []
    for place, number in enumerate(numbers, start=1):
        group = copy.deepcopy(pattern)
        content = group.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = "1", place
        content.DimensionIndexValues = [1, place]
        for derivation in group.get("DerivationImageSequence", ()):
            for source in derivation.SourceImageSequence:
                source.ReferencedSOPClassUID = MULTI_FRAME_ULTRASOUND
                source.ReferencedFrameNumber = number + 1
        groups.append(group)
    for series in segmentation.ReferencedSeriesSequence:
        for instance in series.ReferencedInstanceSequence:
            instance.ReferencedSOPClassUID = MULTI_FRAME_ULTRASOUND
    for source in segmentation.get("SourceImageSequence", ()):
        source.ReferencedSOPClassUID = MULTI_FRAME_ULTRASOUND
    segmentation.PerFrameFunctionalGroupsSequence = groups
    segmentation.NumberOfFrames = len(numbers)


def _blocks(raw: Path, shape: tuple[int, int, int], size: int) -> Iterator[np.ndarray]:
    """Reads masks from the scratch file, a few at a time; mapped into memory they would all stay there."""
    frames, height, width = shape
    with open(raw, "rb") as stream:
        for _ in range(0, frames, size):
            block = np.frombuffer(stream.read(size * height * width), np.uint8)
            yield block.reshape(-1, height, width)


def _anonymous_clip(shape: tuple[int, ...], spacing_mm: float | None, patient_id: str) -> Any:
    """Stands for a frame of the clip: its size and spacing, and nobody's name."""
    import highdicom
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    clip = Dataset()
    clip.file_meta = FileMetaDataset()
    clip.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    clip.SOPClassUID = SINGLE_FRAME_ULTRASOUND
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(clip, name, highdicom.UID())
    clip.Modality = "US"
    clip.PatientID, clip.PatientName = patient_id, "Anonymous^"
    clip.PatientBirthDate = clip.PatientSex = clip.StudyID = clip.AccessionNumber = ""
    clip.StudyDate = clip.StudyTime = clip.ReferringPhysicianName = ""
    clip.SeriesNumber = clip.InstanceNumber = 1
    _, clip.Rows, clip.Columns = shape
    clip.SamplesPerPixel, clip.PhotometricInterpretation = 1, "MONOCHROME2"
    clip.BitsAllocated = clip.BitsStored = 8
    clip.HighBit, clip.PixelRepresentation = 7, 0
    if spacing_mm is not None:
        clip.PixelSpacing = [spacing_mm, spacing_mm]
        # A plane of ultrasound has no thickness to speak of, but readers refuse a spacing without one.
        clip.SliceThickness = spacing_mm
    return clip
