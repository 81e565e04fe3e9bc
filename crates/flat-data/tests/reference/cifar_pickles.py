"""CIFAR batches of two images as Python writes them, for tests/data/python_batches.rs.

Run here with Python 3 and NumPy 2: `python3 cifar_pickles.py`. It writes

* cifar10-protocol-{2,4,5}.pickle: `pickle.dump` of what torchvision's CIFAR10 reads: bytes keys, `data` an array (2, 3072)
  of uint8, `labels` a list of int;
* cifar10-python2.pickle: the same as Python 2's cPickle wrote the distributed files: str for bytes, numpy.core;
* cifar100-protocol-4.pickle: keys as text, `fine_labels` and `coarse_labels`;
* cifar10-{ustar,gnu,pax}.tar.gz: archives of five training batches and a test batch by `tarfile`.

Pixel j of image i is (31 i + 7 j + 5) mod 251, its label 3 + 6 i; batch k of an archive has 10 k added to its pixels' formula.
"""

import io
import pickle
import struct
import tarfile

import numpy as np


def images(shift=0):
    i, j = np.arange(2)[:, None], np.arange(3072)[None, :]
    return ((31 * i + 7 * j + 5 + shift) % 251).astype(np.uint8)


def batch(shift=0):
    return {
        b"batch_label": b"training batch 1 of 5",
        b"labels": [3, 9],
        b"data": images(shift),
        b"filenames": [b"leptodactylus_pentadactylus_s_000004.png", b"camion_s_000148.png"],
    }


def python2():
    """Opcode by opcode as pickletools.dis shows the distributed data_batch_1."""
    memo = iter(range(1, 256))

    def put():
        return b"q" + bytes([next(memo)])

    def string(s):
        return b"U" + bytes([len(s)]) + s + put()

    data = images().tobytes()
    out = b"\x80\x02}" + put() + b"("
    out += string(b"batch_label") + string(b"training batch 1 of 5")
    out += string(b"labels") + b"]" + put() + b"(K\x03K\x09e"
    out += string(b"data")
    out += b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put()
    out += b"K\x00\x85" + string(b"b") + b"\x87" + b"R" + put()
    out += b"(K\x01K\x02M\x00\x0c\x86" + b"cnumpy\ndtype\n" + put() + string(b"u1") + b"K\x00K\x01\x87R" + put()
    out += b"(K\x03" + string(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    out += b"T" + struct.pack("<I", len(data)) + data + put() + b"tb"
    out += string(b"filenames") + b"]" + put() + b"("
    for name in batch()[b"filenames"]:
        out += string(name)
    return out + b"eu."


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def main():
    for protocol in (2, 4, 5):
        with open(f"cifar10-protocol-{protocol}.pickle", "wb") as f:
            pickle.dump(batch(), f, protocol=protocol)
    old = python2()
    assert same(pickle.loads(old, encoding="bytes"), batch())
    with open("cifar10-python2.pickle", "wb") as f:
        f.write(old)
    with open("cifar100-protocol-4.pickle", "wb") as f:
        hundred = {"data": images(), "fine_labels": [3, 99], "coarse_labels": [0, 19]}
        pickle.dump(hundred, f, protocol=4)
    for name, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
        with tarfile.open(f"cifar10-{name}.tar.gz", "w:gz", format=form) as tar:
            folder = tarfile.TarInfo("cifar-10-batches-py")
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
            # a long name, which the formats write each in their own way, before the batches
            long = "cifar-10-batches-py/" + ("a" * 90 + "/") * 2 + "readme.html" if name != "ustar" else "cifar-10-batches-py/readme.html"
            entries = [(long, b"<html>")]
            # not in their order
            entries += [(f"cifar-10-batches-py/data_batch_{k}", pickle.dumps(batch(10 * k), 4)) for k in (4, 1, 2, 3, 5)]
            entries += [("cifar-10-batches-py/test_batch", pickle.dumps(batch(), 2))]
            for path, data in entries:
                info = tarfile.TarInfo(path)
                info.size = len(data)
                if name == "pax":
                    info.pax_headers = {"comment": "a header before each"}
                tar.addfile(info, io.BytesIO(data))


main()
