#!/usr/bin/env python3
"""Unpacks the golden values that tools/reference.py made into the files that the tests read. Standard library only.

    tools/golden.py VECTORS.npz SOFT.npy FOLDER

Float arrays are copied byte for byte as FOLDER/NAME.npy; token ids become NAME.txt, one a line; the single numbers go
to values.txt, one "name value" a line, written so that they read back exactly.
"""
import ast
import pathlib
import shutil
import struct
import sys
import zipfile


def parse(npy):
    """A version 1 .npy file -> its type, its shape, its values where they are not floats of an array"""
    (length,) = struct.unpack_from("<H", npy, 8)
    header = ast.literal_eval(npy[10 : 10 + length].decode("latin1"))
    if npy[:8] != b"\x93NUMPY\x01\x00" or header["fortran_order"]:
        sys.exit("golden.py: only version 1 .npy files in C order are known")
    return header["descr"], header["shape"], npy[10 + length :]


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    vectors, soft, folder = (pathlib.Path(argument) for argument in sys.argv[1:])
    values = []
    with zipfile.ZipFile(vectors) as archive:
        for member in archive.namelist():
            npy, name = archive.read(member), member.removesuffix(".npy")
            kind, shape, data = parse(npy)
            if kind == "<f4":
                (folder / member).write_bytes(npy)
            elif kind == "<i8":
                ids = struct.unpack(f"<{len(data) // 8}q", data)
                (folder / f"{name}.txt").write_text("".join(f"{i}\n" for i in ids))
            elif kind == "<f8" and shape == ():
                values.append(f"{name} {struct.unpack('<d', data)[0]!r}\n")
            else:
                sys.exit(f"golden.py: {member}: do not know what to do with {kind} {shape}")
    (folder / "values.txt").write_text("".join(values))
    shutil.copyfile(soft, folder / "soft-kl.npy")


if __name__ == "__main__":
    main()
