"""Captions: what a picture says of itself."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont


def captioned(picture: Image.Image, caption: str) -> Image.Image:
    """The picture (grey or RGB) with a caption in a strip below it, which hides nothing; large enough for its size."""
    size = max(10, max(picture.size) // 40)
    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(one) for one in font.getbbox(caption))
    height = bottom - top + size
    whole = Image.new(picture.mode, (max(picture.width, right - left + size), picture.height + height))
    whole.paste(picture, ((whole.width - picture.width) // 2, 0))
    white = (255, 255, 255) if picture.mode == "RGB" else 255
    ImageDraw.Draw(whole).text((size // 2 - left, picture.height + size // 2 - top), caption, fill=white, font=font)
    return whole
