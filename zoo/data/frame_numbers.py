"""H.264 counts its reference pictures, so a picture that was lost before the file was written leaves a gap.

Decoders fill such gaps with whatever is at hand and say nothing.
"""

from typing import NamedTuple

from zoo.data.bitstreams import Bits, length_size, units

# Profiles whose parameter sets describe the samples first (ITU-T H.264, section 7.3.2.1.1).
DESCRIBING = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class Layout(NamedTuple):
    """What of a sequence parameter set is needed to read frame numbers.

    Attributes:
        planes: slices name their color plane.
        width: bits of a frame number.
        gaps: numbers may be left out.
    """

    planes: bool
    width: int
    gaps: bool


class FrameNumbers:
    """Watches the frame numbers of an H.264 track, packet by packet in file order."""

    def __init__(self, extradata: bytes | None) -> None:
        record = extradata or b""
        self._lengths = length_size("h264", record)
        self._layout: Layout | None = None
        self._last: int | None = None
        if self._lengths is None:
            self._learn(record)
        elif len(record) > 8 and record[5] & 31:
            self._layout = parameters(record[8 : 8 + int.from_bytes(record[6:8], "big")])

    def follows(self, packet: bytes) -> bool:
        """Whether the packet's picture is the next one; always true where that cannot be told."""
        self._learn(packet)
        layout, last = self._layout, self._last
        spans = ((a, b) for a, b in units(packet, self._lengths) if packet[a] & 31 in (1, 2, 5))
        start, end = next(spans, (0, 0))
        if layout is None or layout.gaps or not end:
            return True
        number = self._number(packet[start + 1 : min(end, start + 24)], layout)
        # A picture has the number after that of the last reference picture, its second field the same one.
        right = last is None or packet[start] & 31 == 5 or number in (last, (last + 1) % (1 << layout.width))
        if packet[start] >> 5 & 3:
            self._last = number
        return right

    def _learn(self, packet: bytes) -> None:
        """Take a parameter set along that is in the stream itself."""
        for start, end in units(packet, self._lengths):
            if packet[start] & 31 == 7:
                self._layout = parameters(packet[start:end])

    @staticmethod
    def _number(header: bytes, layout: Layout) -> int:
        """Frame number from the beginning of a slice (section 7.3.3)."""
        bits = Bits(header.replace(b"\0\0\3", b"\0\0"))
        bits.skip_exp_golomb(3)  # first macroblock, type, picture parameter set
        bits.take(2 if layout.planes else 0)
        return bits.take(layout.width)


def parameters(unit: bytes) -> Layout | None:
    """Layout from a sequence parameter set; None for one with scaling lists, which few files have."""
    bits = Bits(unit[1:].replace(b"\0\0\3", b"\0\0"))
    profile = bits.take(24) >> 16
    bits.exp_golomb()
    planes = False
    if profile in DESCRIBING:
        chroma = bits.exp_golomb()
        planes = chroma == 3 and bool(bits.take(1))
        bits.skip_exp_golomb(2)
        bits.take(1)
        if bits.take(1):
            return None
    width = bits.exp_golomb() + 4
    order = bits.exp_golomb()
    if order == 0:
        bits.exp_golomb()
    elif order == 1:
        bits.take(1)
        bits.skip_exp_golomb(2)
        bits.skip_exp_golomb(bits.exp_golomb())
    bits.exp_golomb()
    return Layout(planes, width, bool(bits.take(1)))
