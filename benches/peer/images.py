"""Images of a data set in memory as PyTorch's tensors, and their augmentation by whole batches."""

import gzip
import io
from pathlib import Path

PADDING = 4


def idx(folder, name):
    """The bytes of an IDX file after its header, from the file or its gzip."""
    file, packed = Path(folder, name), Path(folder, name + ".gz")
    if not (file.exists() or packed.exists()):
        raise SystemExit(f"--data {folder}: neither {name} nor {name}.gz is in it")
    data = file.read_bytes() if file.exists() else gzip.decompress(packed.read_bytes())
    return data[4 + 4 * data[3]:]


def grey(folder, split):
    """Images (n, 1, 28, 28) in bytes and labels of an MNIST-like set."""
    import torch

    name = {"train": "train", "test": "t10k"}[split]
    pixels = torch.frombuffer(bytearray(idx(folder, f"{name}-images-idx3-ubyte")), dtype=torch.uint8)
    labels = torch.frombuffer(bytearray(idx(folder, f"{name}-labels-idx1-ubyte")), dtype=torch.uint8)
    return pixels.view(-1, 1, 28, 28), labels.long()


def coloured(folder, split):
    """Images (n, 3, 32, 32) in bytes and labels of CIFAR-10 in the hub's parquet files."""
    import numpy
    import pyarrow.parquet
    import torch
    from PIL import Image

    files = sorted(Path(folder).rglob(f"{split}/*.parquet")) or sorted(Path(folder).rglob(f"{split}-*.parquet"))
    if not files:
        raise SystemExit(f"--data {folder}: no parquet file of the split {split} is in it")
    table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files])
    column = "img" if "img" in table.column_names else "image"
    encoded = [row["bytes"] for row in table[column].to_pylist()]
    pixels = numpy.stack([numpy.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in encoded])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(table["label"].to_pylist())


READERS = {"mnist": grey, "fashion-mnist": grey, "cifar10": coloured}


def crop(images):
    """Each image at a random place within its padding of black, as RandomCrop(size, padding=4)."""
    import torch
    from torch.nn import functional as F

    n, channels, height, width = images.shape
    padded = F.pad(images, [PADDING] * 4)
    places = torch.randint(2 * PADDING + 1, (2, n, 1))
    down, right = places[0] + torch.arange(height), places[1] + torch.arange(width)
    at = torch.arange(n)[:, None, None, None]
    return padded[at, torch.arange(channels)[:, None, None], down[:, None, :, None], right[:, None, None, :]]


def flip(images):
    """Half of the images mirrored left and right."""
    import torch

    mirrored = torch.rand(len(images)) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(3), images)


AUGMENTATIONS = {"crop": crop, "flip": flip}
