"""Files of PyTorch's format, written without it: for measurements and tests."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_STORAGES = {"float32": b"FloatStorage", "float16": b"HalfStorage", "int64": b"LongStorage"}


def text(value: str) -> bytes:
    """A text in a pickle."""
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def sizes(*values: int) -> bytes:
    """Numbers in a tuple in a pickle."""
    return b"(" + b"".join(b"J" + value.to_bytes(4, "little") for value in values) + b"t"


def pickled_tensor(
    key: str, dtype: str, count: int, shape: tuple[int, ...], strides: tuple[int, ...], first=0
) -> bytes:
    """What a pickle of PyTorch's says of a tensor."""
    storage = b"(" + text("storage") + b"ctorch\n" + _STORAGES[dtype] + b"\n" + text(key) + text("cpu")
    storage += sizes(count)[1:-1] + b"tQ"
    rest = sizes(first)[1:-1] + sizes(*shape) + sizes(*strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def write_pytorch(path: Path, tensors: Mapping[str, np.ndarray], old_pickle: bytes | None = None) -> Path:
    """`pytorch_model.bin` as PyTorch writes it; with another pickle where one is given. Returns `path`."""
    items = b"".join(
        text(name) + pickled_tensor(
            str(number), value.dtype.name, value.size, value.shape, tuple(s // value.itemsize for s in value.strides)
        )
        for number, (name, value) in enumerate(tensors.items())
    )  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", old_pickle or b"\x80\x02}(" + items + b"u.")
        for number, value in enumerate(tensors.values()):
            # The numbers as they lie in memory, also of a transposed array.
            with archive.open(f"archive/data/{number}", "w", force_zip64=True) as file:
                file.write(value.ravel(order="K").data)
        archive.writestr("archive/version", b"3\n")
    return path
