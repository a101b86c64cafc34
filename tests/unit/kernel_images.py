"""Files that look like kernels."""

from __future__ import annotations

import struct


def bz_image(packed: bytes, protocol: int = 0x020F) -> bytes:
    """A bzImage around a packed kernel: four sectors of set-up, then the unpacker's code, then the
    kernel and its size.
    """
    code, trailer = b"unpacker", struct.pack("<I", 12345)
    image = bytearray(5 * 512) + code + packed + trailer
    image[0x1F1] = 4
    image[0x202:0x208] = b"HdrS" + struct.pack("<H", protocol)
    struct.pack_into("<II", image, 0x248, len(code), len(packed) + len(trailer))
    return bytes(image)
