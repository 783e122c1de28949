"""Captions: what a picture says of itself."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture (grey or RGB) with a caption in a strip below it, which hides nothing; large enough for its size."""
    (height, width), (left, _) = captioned_size((picture.height, picture.width), caption)
    size, font, (x, y, _, _) = _lettering((picture.height, picture.width), caption)
    whole = Image.new(picture.mode, (width, height))
    whole.paste(picture, (left, 0))
    white = (255, 255, 255) if picture.mode == "RGB" else 255
    ImageDraw.Draw(whole).text((size // 2 - x, picture.height + size // 2 - y), caption, fill=white, font=font)
    return whole


def captioned_size(shape: tuple[int, int], caption: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """The size (ny, nx) that a caption makes of a picture's, and how far right of and above its corner the picture lies."""
    size, _, (left, top, right, bottom) = _lettering(shape, caption)
    strip = bottom - top + size
    width = max(shape[1], right - left + size)
    return (shape[0] + strip, width), ((width - shape[1]) // 2, strip)


def _lettering(
    shape: tuple[int, int], caption: str
) -> tuple[int, ImageFont.FreeTypeFont | ImageFont.ImageFont, tuple[int, ...]]:
    size = max(10, max(shape) // 40)
    font = ImageFont.load_default(size)
    return size, font, tuple(int(one) for one in font.getbbox(caption))
