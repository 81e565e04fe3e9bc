"""What the scripts of this folder share: running flat-train, reading its files, and saying what is missing.

A script prints one JSON object on stdout. It ends with status 0, with 1 where the two sides disagree, or with 77 and a reason on
stderr where something is missing. FLAT_TRAIN_BIN names the program, FLAT_LIBRARY_PATH the loader's path for it, and FLAT_TOP the folder
that holds data/.
"""

import gzip
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SKIPPED = 77
HERE = Path(__file__).resolve().parent
TOP = Path(os.environ.get("FLAT_TOP", HERE.parents[2]))
TOOL = os.environ.get("FLAT_TRAIN_BIN", str(TOP / "target" / "release" / "flat-train"))
# packages that were carried along, after those of the machine
sys.path += [str(HERE.parent), str(HERE / "site")]


def skip(why):
    print(why, file=sys.stderr)
    sys.exit(SKIPPED)


def torch_on(device):
    """PyTorch, if it can compute there."""
    try:
        import torch
    except ImportError as e:
        skip(f"no PyTorch here ({e}): {sys.executable} -m pip install torch")
    if device.startswith("cuda") and not torch.cuda.is_available():
        skip(f"PyTorch {torch.__version__} has no CUDA device here")
    return torch


def about(torch, device):
    cuda = device.startswith("cuda")
    return {
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
    }


def finish(result, passed=True):
    """Prints the object; numbers that are not finite are null."""

    def clean(x):
        if isinstance(x, dict):
            return {k: clean(v) for k, v in x.items()}
        if isinstance(x, (list, tuple)):
            return [clean(v) for v in x]
        return None if isinstance(x, float) and not math.isfinite(x) else x

    print(json.dumps(clean(result), allow_nan=False))
    sys.exit(0 if passed else 1)


class Refused(Exception):
    """What flat-train said when it refused."""


def environment():
    """What the program starts with: its own path for the loader, which would disturb PyTorch's libraries."""
    env = {"FLAT_DATA_DIR": str(TOP / "data"), **os.environ}
    if "FLAT_LIBRARY_PATH" in os.environ:
        env["LD_LIBRARY_PATH"] = os.environ["FLAT_LIBRARY_PATH"]
    return env


def flat(words):
    """Runs flat-train with these words and --json, and parses what it prints."""
    command = [TOOL, *words.split(), "--json", "--quiet"]
    out = subprocess.run(command, capture_output=True, text=True, cwd=TOP, env=environment())
    if out.returncode != 0:
        raise Refused(out.stderr.strip()[-600:])
    return json.loads(out.stdout)


def folder():
    """A folder for runs, gone at the end."""
    return tempfile.TemporaryDirectory(prefix="flat-")


def step_losses(run):
    lines = (json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "step"]


def weights(torch, file, dtype, device):
    """The tensors of a safetensors file."""
    data = Path(file).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    types = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "U32": torch.int32}
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        raw = bytearray(data[8 + length + begin : 8 + length + end])
        tensor = torch.frombuffer(raw, dtype=types[entry["dtype"]]).reshape(entry["shape"])
        out[name] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
    return out


def load(torch, model, file, dtype, device):
    """Puts the weights of a run into a network; every parameter must be among them."""
    given = weights(torch, file, dtype, device)
    model.to(device=device, dtype=dtype)
    own = model.state_dict()
    lacking = [k for k in own if k not in given and not k.endswith("num_batches_tracked")]
    unknown = [k for k in given if k not in own]
    if lacking or unknown:
        raise SystemExit(f"{file}: lacks {lacking}, has besides {unknown}")
    model.load_state_dict(given, strict=False)


def mnist(torch, count, dtype, device, split="train"):
    """The first images of MNIST, normalised as flat-train does, with their labels."""
    place = TOP / "data" / "mnist"
    with gzip.open(place / f"{split}-images-idx3-ubyte.gz") as f:
        pixels = torch.frombuffer(bytearray(f.read(16 + count * 784)[16:]), dtype=torch.uint8)
    with gzip.open(place / f"{split}-labels-idx1-ubyte.gz") as f:
        labels = torch.frombuffer(bytearray(f.read(8 + count)[8:]), dtype=torch.uint8)
    images = (pixels.reshape(-1, 1, 28, 28).to(dtype) / 255 - 0.1307) / 0.3081
    return images.to(device), labels.long().to(device)
