"""Reduction: pure functions over arrays and MaskedImage. Shapes are (ny, nx); masks are uint16 planes of `MaskBit`."""
