"""Sequences of different lengths as one batch."""
from ...errors import refuse
from ...tensor_engine.functions import cat, stack


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences (T_k, ...) as one tensor (T, B, ...), with batch_first (B, T, ...), T the longest: padding_value stands behind the others, or before them.

    >>> import diffeng as de
    >>> pad_sequence([de.tensor([1, 2, 3]), de.tensor([4])], batch_first=True, padding_value=-1)
    tensor([[ 1,  2,  3],
            [ 4, -1, -1]])
    """
    sequences = list(sequences)
    if not sequences or padding_side not in ("right", "left"):
        raise refuse(RuntimeError if not sequences else ValueError, "pad_sequence{here}: received an empty list of sequences" if not sequences else
                     f"pad_sequence{{here}}: padding_side should be either 'right' or 'left', but got {padding_side!r}")
    longest = max([s.shape[0] for s in sequences])
    fillers = [s.new_full((longest - s.shape[0], *s.shape[1:]), padding_value) for s in sequences]
    return stack([cat([s, f] if padding_side == "right" else [f, s]) for s, f in zip(sequences, fillers)], 0 if batch_first else 1)
