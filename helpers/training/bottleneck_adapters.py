"""Bottleneck adapters: small networks behind every attention and every feed-forward layer of a frozen model.

peft has none of this kind, and the library that has them asks for an older transformers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

BEHIND = ("o", "wo")  # T5's last linear layer of an attention and of a feed-forward block
WEIGHTS = "adapter_model.safetensors"


class Bottleneck(nn.Module):
    """x + up(relu(down(x))): through `width` numbers and back, beside what it is given. `up` starts at zero, so that
    nothing changes at first.

    Source: Houlsby et al. 2019, section 2.1 and figure 2.
    """

    def __init__(self, size: int, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states):
        """(…, size) -> (…, size)."""
        return states + self.up(torch.relu(self.down(states)))


def _through_bottleneck(linear, _inputs, output):
    return linear.bottleneck(output)


def add_bottlenecks(model: nn.Module, width: int) -> nn.Module:
    """The model itself with a bottleneck behind each sublayer; they and the normalisations are trained, all else stays.

    Raises:
        ValueError: a width below 1, or a model without such layers.
    """
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
        raise ValueError(f"width: {width!r} is not a whole number of at least 1")
    layers = [
        module
        for name, module in model.named_modules()
        if name.rsplit(".", 1)[-1] in BEHIND and isinstance(module, nn.Linear)
    ]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no linear layers called {' or '.join(BEHIND)}")
    model.requires_grad_(False)
    for name, weight in model.named_parameters():
        weight.requires_grad_("layer_norm" in name)
    for layer in layers:
        layer.bottleneck = Bottleneck(layer.out_features, width).to(layer.weight.device)
        layer.register_forward_hook(_through_bottleneck)
    return model


def save_bottlenecks(model: nn.Module, folder: Path):
    """Writes what is trained, and no other weight of the model."""
    trained = {name: weight.detach().cpu() for name, weight in model.named_parameters() if weight.requires_grad}
    Path(folder).mkdir(parents=True, exist_ok=True)
    save_file(trained, Path(folder) / WEIGHTS)


def load_bottlenecks(model: nn.Module, folder: Path) -> nn.Module:
    """Puts saved weights into a model that `add_bottlenecks` has prepared with the same width.

    Raises:
        KeyError, RuntimeError: names or shapes that do not fit.
    """
    saved, own = load_file(Path(folder) / WEIGHTS), dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in saved.items():
            own[name].copy_(weight)
    return model
