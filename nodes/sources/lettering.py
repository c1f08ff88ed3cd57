"""Letters of 3 x 5 blocks for what a source's name can hold, so that drawing a name needs no library."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GLYPH_ROWS, GLYPH_COLUMNS = 5, 3
# One octal digit is one row of three blocks: 0o25755 is .#. / #.# / ### / #.# / #.#
GLYPHS = {
    "A": 0o25755, "B": 0o65656, "C": 0o34443, "D": 0o65556, "E": 0o74647, "F": 0o74644, "G": 0o34553,
    "H": 0o55755, "I": 0o72227, "J": 0o11152, "K": 0o55655, "L": 0o44447, "M": 0o57755, "N": 0o65555,
    "O": 0o25552, "P": 0o65644, "Q": 0o25573, "R": 0o65655, "S": 0o34216, "T": 0o72222, "U": 0o55557,
    "V": 0o55552, "W": 0o55775, "X": 0o55255, "Y": 0o55222, "Z": 0o71247,
    "0": 0o75557, "1": 0o26227, "2": 0o61247, "3": 0o61216, "4": 0o55711, "5": 0o74616, "6": 0o34757,
    "7": 0o71222, "8": 0o75757, "9": 0o75716, "-": 0o00700, "_": 0o00007,
}  # fmt: skip


def lettering(text: str) -> NDArray[np.bool_]:
    """Return ``text`` in capitals as blocks, (5, 4 * letters); a letter that isn't known is blank."""
    row_shifts = GLYPH_COLUMNS * np.arange(GLYPH_ROWS)[::-1, np.newaxis]
    shifts = row_shifts + np.arange(GLYPH_COLUMNS)[::-1]
    blocks = np.zeros((GLYPH_ROWS, len(text), GLYPH_COLUMNS + 1), np.bool_)
    for index, letter in enumerate(text.upper()):
        blocks[:, index, :GLYPH_COLUMNS] = GLYPHS.get(letter, 0) >> shifts & 1
    return blocks.reshape(GLYPH_ROWS, -1)
