"""Masters: from raw calibrations of one session to one frame with its mask and uncertainty."""

from __future__ import annotations

from collections.abc import Iterable

from astropy.io import fits

from avcd.cards import describe, inherit, with_read_noise
from avcd.named_defects import Area
from avcd.reduction.masters import Master, build_master_bias, build_master_dark, build_master_flat
from avcd.reduction.sources import FrameSource
from avcd.stages.inputs import frame_of, measured_read_noise, read_ccd, read_raw_header, row_sources
from avcd.stages.output import Output, Work
from avcd.stages.readout import Readout, check_masters, level_of
from avcd.stages.writing import frame_name, image_output
from avcd.work import JobInput


def build_bias(work: Work) -> Output:
    """A master bias: see `avcd.reduction.masters.build_master_bias`."""
    raw = work.inputs("raw")
    with row_sources(work, raw, Readout.of(work.claim.spec.parameters)) as sources:
        master = build_master_bias(
            sources,
            work.claim.spec.parameters,
            full_well_adu=_full_wells(raw, sources)[0],
            figures=work.figures,
            memory_bytes=work.memory_bytes,
        )
    return _output(work, master, raw, applied=())


def build_dark(work: Work) -> Output:
    """A master dark, less the bias where one was matched."""
    raw = work.inputs("raw")
    check_masters(work)
    bias = read_ccd(work, work.input("bias"))
    with row_sources(work, raw, Readout.of(work.claim.spec.parameters)) as sources:
        master = build_master_dark(
            sources,
            bias,
            work.claim.spec.parameters,
            exposure_s=work.claim.spec.exposure_s,
            full_well_adu=_full_wells(raw, sources)[0],
            figures=work.figures,
            memory_bytes=work.memory_bytes,
        )
    return _output(work, master, raw, applied=("bias",) if bias is not None else ())


def build_flat(work: Work) -> Output:
    """A master flat: each flat less its dark, or its bias alone, then normalised and combined.

    Flats that are too dark or too bright are left out, and named in the warnings and in the header's HISTORY.
    """
    raw = work.inputs("raw")
    check_masters(work)
    bias, dark = read_ccd(work, work.input("bias")), read_ccd(work, work.input("dark"))
    with row_sources(work, raw, Readout.of(work.claim.spec.parameters)) as sources:
        master = build_master_flat(
            sources,
            bias,
            dark,
            work.claim.spec.parameters,
            full_well_adu=_full_wells(raw, sources),
            read_noise_adu=measured_read_noise(work),
            figures=work.figures,
            memory_bytes=work.memory_bytes,
        )
    applied = [kind for kind, one in (("bias", bias), ("dark", dark)) if one is not None]
    return _output(work, master, raw, applied=applied)


def build_bad_pixels(work: Work) -> Output:
    """The bad pixels of a master dark, and those that observers name."""
    from avcd.reduction.defects import add_named, find_bad_pixels  # a tenth of a second that other masters do not need

    one = work.inputs("dark")[0]
    dark = read_ccd(work, one)
    assert dark is not None
    found = find_bad_pixels(dark, work.claim.spec.parameters)
    notes: list[str] = []
    if named := work.claim.spec.parameters.get("named"):
        found, notes = add_named(found, (Area(*area) for area in named))
    header = read_raw_header(work, one) if one.origin == "frame" else dark.header
    return image_output(
        work,
        found.ccd,
        describe(inherit(fits.Header(header), keep_world=False), work.claim.spec),
        found.metrics,
        warnings=tuple(notes),
    )


def _full_wells(raw: list[JobInput], sources: list[FrameSource]) -> list[float | None]:
    """The level at which the detector saturates, adu above the overscan, for every frame; None where it is not known."""
    wells = [frame_of(one).saturation_adu for one in raw]
    return [None if well is None else well - level_of(one) for well, one in zip(wells, sources, strict=True)]


def _output(work: Work, master: Master, raw: list[JobInput], applied: Iterable[str]) -> Output:
    first = min(raw, key=lambda one: (frame_of(one).t_min or 0.0, one.id))
    left_out = [f"left out: {frame_name(frame_of(raw[index]))}: {why}" for index, why in master.left_out.items()]
    notes = (*master.warnings, *left_out)
    readout = Readout.of(work.claim.spec.parameters)
    header = describe(
        inherit(readout.of_header(read_raw_header(work, first)), keep_world=False),
        work.claim.spec,
        applied=applied,
        steps=notes,
        combined=len(raw) - len(left_out),
    )
    if "read_noise_adu" in master.metrics:
        header = with_read_noise(header, master.metrics["read_noise_adu"])
    planes = {} if master.counts is None else {"COUNT": master.counts}
    return image_output(work, master.ccd, header, master.metrics, warnings=notes, planes=planes)
