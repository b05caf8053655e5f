"""grid_sample, affine_grid and ctc_loss, as PyTorch has them."""
import numpy as np
import pytest

import diffeng as de
from beside_torch import both, both_refuse, needs_torch

pytestmark = needs_torch
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


IMAGES, GRID = drawn(2, 3, 4, 5), (1.3 * drawn(2, 3, 6, 2)).astype(np.float32)
VOLUMES, PLACES = drawn(1, 2, 3, 4, 2), drawn(1, 2, 3, 2, 3)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [True, False])
def test_images_at_computed_places(padding, align):
    for mode in ("bilinear", "nearest"):
        both(lambda m, F, x, g: F.grid_sample(x, g, mode, padding, align_corners=align), IMAGES, GRID, tol=1e-4)
    both(lambda m, F, x, g: F.grid_sample(x, g, padding_mode=padding, align_corners=align), VOLUMES, PLACES, tol=1e-4)


@pytest.mark.filterwarnings("ignore:Since version")
def test_affine_maps():
    for size, shape in (((2, 3, 4, 5), (2, 2, 3)), ((2, 1, 3, 1, 4), (2, 3, 4))):
        for align in (True, False):
            both(lambda m, F, t: F.affine_grid(t, size, align_corners=align), drawn(*shape))
    both(lambda m, F, x, t: F.grid_sample(x, F.affine_grid(t, (2, 3, 4, 5), align_corners=False), align_corners=False), IMAGES, drawn(2, 2, 3), tol=1e-4)
    both_refuse(lambda m, F, x, g: F.grid_sample(x, g, mode="cubic", align_corners=False), IMAGES, GRID)
    both_refuse(lambda m, F, x, g: F.grid_sample(x, g[:1], align_corners=False), IMAGES, GRID)
    both_refuse(lambda m, F, t: F.affine_grid(t, (2, 3, 4, 5), align_corners=False), drawn(2, 3, 4))


LOGITS, LABELS, COUNTS = drawn(9, 3, 5), np.array([[1, 2, 2, 4], [3, 3, 0, 0], [4, 0, 0, 0]]), [4, 2, 0]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_sequences_of_labels(reduction):
    def f(m, F, x, labels):
        logs = x.log_softmax(-1)
        together = m.cat([row[:n] for row, n in zip(labels, COUNTS)])
        return (F.ctc_loss(logs, labels, [9, 7, 5], COUNTS, reduction=reduction), F.ctc_loss(logs, together, m.tensor([9, 9, 9]), m.tensor(COUNTS), reduction=reduction),
                F.ctc_loss(logs[:, 0], labels[0, :3], m.tensor(8), m.tensor(3), reduction=reduction), m.nn.CTCLoss(blank=4, reduction=reduction)(logs, labels * 0 + 1, [9, 7, 5], [2, 2, 1]))
    both(f, LOGITS, LABELS, tol=1e-4)


def test_too_few_steps():
    both(lambda m, F, x, labels: F.ctc_loss(x.log_softmax(-1), labels, [4, 9, 9], COUNTS, reduction="none", zero_infinity=True), LOGITS, LABELS, tol=1e-4)
    found = de.nn.functional.ctc_loss(de.tensor(LOGITS).log_softmax(-1), de.tensor(LABELS), [4, 9, 9], COUNTS, reduction="none")
    assert found[0].item() == np.inf and found[1].isfinite()
    both_refuse(lambda m, F, x, labels: F.ctc_loss(x.log_softmax(-1), labels, [10, 9, 9], COUNTS), LOGITS, LABELS)
    both_refuse(lambda m, F, x, labels: F.ctc_loss(x.log_softmax(-1), labels, [9, 9, 9], COUNTS, blank=5), LOGITS, LABELS)
