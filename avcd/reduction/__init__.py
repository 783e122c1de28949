"""Reduction: pure functions over arrays and CCDData. Shapes are (ny, nx); masks are uint16 planes of `MaskBit`."""
