import pytest
import torch

from astr_cli.model.astr import Astr
from astr_cli.model.config import PRESETS


@pytest.fixture(scope="session", params=["astr", "astr-small"])
def model(request) -> Astr:
    """Each preset with random weights and BatchNorm statistics that are not the identity, in eval mode."""
    torch.manual_seed(0)
    model = Astr(PRESETS[request.param])
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def textured(seed: int, height: int, width: int) -> torch.Tensor:
    """A smooth random image, (1, 1, height, width) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 1, height // 4, width // 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
