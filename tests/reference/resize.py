"""Prints the cases of crates/flat-data/src/own/resize.rs: Pillow's bilinear resize, then torchvision's centre crop.

    python tests/reference/resize.py     (Pillow 13.0.0)
"""

from PIL import Image


def picture(height, width):
    return bytes((x * 37 + y * 101 + x * y * 7) % 256 for y in range(height) for x in range(width))


def fitted(height, width, size):
    image = Image.frombytes("L", (width, height), picture(height, width))
    if isinstance(size, tuple):
        return image.resize(size[::-1], Image.Resampling.BILINEAR).tobytes()
    short, long = min(height, width), max(height, width)
    longer = int(size * long / short)
    new = (size, longer) if width <= height else (longer, size)
    image = image.resize(new, Image.Resampling.BILINEAR)
    left, top = (int(round((side - size) / 2.0)) for side in image.size)
    return image.crop((left, top, left + size, top + size)).tobytes()


for height, width, size in [(7, 9, 4), (40, 31, 5), (13, 29, 6), (3, 4, 6), (9, 7, (5, 3)), (64, 64, 3)]:
    print(f"({[height, width]}, {str(size[0]) + 'x' + str(size[1]) if isinstance(size, tuple) else size}, {list(fitted(height, width, size))})")
