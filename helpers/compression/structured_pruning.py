"""Structured pruning: whole feed-forward neurons and attention heads are taken out of a T5, and what is left is an
ordinary, smaller T5.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers.pytorch_utils import prune_linear_layer

from helpers.compression.pruning import check_share
from helpers.data.pairs import Collator
from helpers.models.generation import evaluating

FEED_FORWARD, SELF, CROSS = "DenseReluDense", "SelfAttention", "EncDecAttention"


@dataclass(frozen=True)
class Units:
    """What can be taken out of one layer: the neurons of a feed-forward layer, or the heads of an attention.

    Attributes:
        count: how many there are; width: rows of `into`, and columns of `out`, that belong to one.
        into: names of the linear layers whose rows they are; out: name of the one whose columns they are.
        kind: the last part of the layer's name, such as "SelfAttention".
    """

    count: int
    width: int
    into: tuple[str, ...]
    out: str
    kind: str


def units(model) -> dict[str, Units]:
    """Layer -> its neurons or heads, in the model's order.

    Raises:
        ValueError: the model is not built as T5 is.
    """
    found = {}
    for name, module in model.named_modules():
        kind = name.rpartition(".")[2]
        if kind == FEED_FORWARD:
            into = tuple(f"{name}.{child}" for child, _ in module.named_children() if child.startswith("wi"))
            found[name] = Units(module.wo.in_features, 1, into, f"{name}.wo", kind)
        elif kind in (SELF, CROSS):
            found[name] = Units(
                module.n_heads,
                module.key_value_proj_dim,
                tuple(f"{name}.{child}" for child in "qkv"),
                f"{name}.o",
                kind,
            )
    if not found:
        raise ValueError(
            f"{type(model).__name__}: has no layers called {FEED_FORWARD} or {SELF}; only models built as T5 "
            "can be pruned by this"
        )
    return found


def _sizes(model, layers, group, dim):
    """(count,) the norm of what belongs to each unit, product over the layers: that is what a scale moved from one
    layer to the next leaves as it is.
    """
    product = 1
    for name in layers:
        weight = model.get_submodule(name).weight.detach().float()
        product = product * (weight if dim == 0 else weight.T).reshape(group.count, -1).norm(dim=1)
    return product


def magnitudes(model) -> dict[str, torch.Tensor]:
    """Layer -> (count,) how large the weights of each neuron or head are: norm of its rows times norm of its columns.

    Of a head's three matrices only the values count: queries and keys say where it looks, not how much it adds.
    """
    return {
        name: (
            _sizes(model, group.into if group.width == 1 else group.into[2:], group, 0)
            * _sizes(model, [group.out], group, 1)
        ).cpu()
        for name, group in units(model).items()
    }


def gradient_importance(model, tokenizer, pairs) -> dict[str, torch.Tensor]:
    """Layer -> (count,) how much the loss would change, to first order, if the neuron or head alone were switched off;
    mean over pairs, in nats.

    Switching it off takes its columns of the output layer to zero, so it is |Σ gradient · weight| over them.
    Source: Michel et al. 2019, section 4.1 (heads); Molchanov et al. 2019, equation 5 (neurons).
    """
    groups, collate, copied = units(model), Collator(tokenizer.pad_token_id, multiple=1), copy.deepcopy(model).float()
    copied.requires_grad_(False)
    outs = {name: copied.get_submodule(group.out).weight.requires_grad_(True) for name, group in groups.items()}
    found = {name: torch.zeros(group.count) for name, group in groups.items()}
    with evaluating(copied), torch.enable_grad():
        for pair in pairs:
            loss = copied(**{name: tensor.to(copied.device) for name, tensor in collate([pair]).items()}).loss
            for (name, weight), gradient in zip(outs.items(), torch.autograd.grad(loss, list(outs.values()))):
                share = (gradient * weight.detach()).sum(0).reshape(groups[name].count, -1).sum(1)
                found[name] += share.abs().cpu() / len(pairs)
    return found


def _kept(importance, groups, share):
    """Layer -> indices of the units that stay: as many in each layer of a kind, since config.json has one number for
    all.

    T5 computes the bias of relative positions in the first layer of a stack and gives it to the others head by head:
    its self-attentions must all lose the same heads, those of the least importance added up.
    """
    kept = {}
    for name, group in groups.items():
        score = importance[name]
        if group.kind == SELF:
            stack = name.split(".")[0]
            score = sum(
                importance[other]
                for other, found in groups.items()
                if found.kind == SELF and other.split(".")[0] == stack
            )
        stay = group.count - round(share * group.count)
        if not stay:
            raise ValueError(f"heads: {share!r} of {group.count} in {name} leaves none; leave at least one")
        kept[name] = score.argsort(descending=True, stable=True)[:stay].sort().values
    return kept


def smaller(model, importance: Mapping[str, torch.Tensor], neurons: float = 0.0, heads: float = 0.0):
    """A copy without the least important neurons and heads; its configuration says how many are left, and it loads like
    any other T5.

    Args:
        importance: as `magnitudes` or `gradient_importance` gives it. neurons, heads: share to take out of every layer,
            from 0 to below 1.
    Raises:
        ValueError: another share, or one that leaves no head or neuron.
    """
    check_share("neurons", neurons)
    check_share("heads", heads)
    copied, groups = copy.deepcopy(model), units(model)
    feed_forward = {name: group for name, group in groups.items() if group.kind == FEED_FORWARD}
    attention = {name: group for name, group in groups.items() if group.kind != FEED_FORWARD}
    for name, index in {**_kept(importance, feed_forward, neurons), **_kept(importance, attention, heads)}.items():
        _take_out(copied, name, groups[name], index)
    for config in (copied.config, copied.encoder.config, copied.decoder.config):
        config.d_ff = next(copied.get_submodule(group.out).in_features for group in feed_forward.values())
        config.num_heads = next(copied.get_submodule(name).n_heads for name in attention)
    return copied


def _take_out(model, name, group, index):
    """Leaves of one layer only the units with these indices."""
    places = (index[:, None] * group.width + torch.arange(group.width)).flatten()
    for layer, dim in [*((layer, 0) for layer in group.into), (group.out, 1)]:
        model.set_submodule(layer, prune_linear_layer(model.get_submodule(layer), places, dim))
    if group.kind == FEED_FORWARD:
        return
    attention = model.get_submodule(name)
    attention.n_heads, attention.inner_dim = len(index), len(index) * group.width
    if attention.has_relative_attention_bias:
        bias = attention.relative_attention_bias
        bias.weight = torch.nn.Parameter(bias.weight.detach()[:, index.to(bias.weight.device)].clone())
        bias.embedding_dim = len(index)
