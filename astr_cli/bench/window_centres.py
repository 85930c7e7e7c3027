"""Window centres as the model's spot layers choose them, without a model."""

import torch
from torch import Tensor

SPOTS, WINDOW = 5, 5  # a query's own best match and four neighbours' (paper section 3.2), 5 x 5 cells each
WRONG = 0.1


def realistic_centres(grid: tuple[int, int], batch: int, wrong: float, generator: torch.Generator) -> Tensor:
    """(B, N, SPOTS) int64: where a map of the grid onto itself sends a cell and four of its 5 x 5 neighbourhood.

    The map turns by three degrees. A share `wrong` of the cells match at random, which misleads queries that use them.
    Centres outside of the grid are moved onto its border.
    """
    height, width = grid
    cell = torch.arange(height * width)
    y, x = (cell // width - height / 2).float(), (cell % width - width / 2).float()
    to_y = (y + 0.05 * x + height / 2).round().clamp(0, height - 1)
    to_x = (x - 0.05 * y + width / 2).round().clamp(0, width - 1)
    matched = (to_y * width + to_x).long().expand(batch, -1)
    astray = torch.rand(matched.shape, generator=generator) < wrong
    matched = torch.where(astray, torch.randint(0, len(cell), matched.shape, generator=generator), matched)
    # The cell itself, then different others of its neighbourhood.
    order = torch.rand(batch, len(cell), WINDOW**2, generator=generator)
    order[..., WINDOW**2 // 2] = 2.0
    place = order.topk(SPOTS, dim=2).indices
    near_y = ((cell // width)[:, None] + place // WINDOW - WINDOW // 2).clamp(0, height - 1)
    near_x = ((cell % width)[:, None] + place % WINDOW - WINDOW // 2).clamp(0, width - 1)
    return matched.gather(1, (near_y * width + near_x).flatten(1)).unflatten(1, (len(cell), SPOTS))


def random_centres(grid: tuple[int, int], batch: int, generator: torch.Generator) -> Tensor:
    """(B, N, SPOTS) int64, all at random: the worst case, as in an untrained model."""
    cells = grid[0] * grid[1]
    return torch.randint(0, cells, (batch, cells, SPOTS), generator=generator)
