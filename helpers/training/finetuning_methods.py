"""Methods of adapting a model: which weights a training run changes, and at what learning rate; the model given stays
as it was.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PrefixTuningConfig,
    PromptTuningConfig,
    PromptTuningInit,
    TaskType,
    get_peft_model,
)

from helpers.compression.distillation import check_mixture
from helpers.compression.quantized_models import fake_quantized, linear_layers
from helpers.training.bottleneck_adapters import add_bottlenecks

# peft asks transformers for a name that is going to be dropped; a reader of the warning could do nothing about it.
warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)

# Names of T5's linear layers; queries and values are what LoRA is usually put on.
ATTENTION, FEED_FORWARD = ("q", "v"), ("wi_0", "wi_1", "wo")
LINEAR = ("q", "k", "v", "o", *FEED_FORWARD)
CROSS_ATTENTION, NORMS = (
    ("EncDecAttention",),
    ("layer_norm", "final_layer_norm"),
)  # and of parts that can be chosen as a whole
CONFIGS = {
    "full": None,
    "sparse": None,
    "qat": None,
    "distilled": None,
    "selective": None,
    "bottleneck": None,
    "lora": LoraConfig,
    "ia3": IA3Config,
    "prefix": PrefixTuningConfig,
    "prompt": PromptTuningConfig,
}
DECODER_LAYERS = ("num_decoder_layers", "decoder_layers", "num_hidden_layers")  # what configurations call their number,
DECODER_HEADS = ("decoder_attention_heads", "num_attention_heads")  # and that of the heads in each
WHOLE = tuple(
    kind for kind, config in CONFIGS.items() if config is None and kind != "bottleneck"
)  # these leave a whole model, the others an adapter


@dataclass(frozen=True)
class Method:
    """One way to adapt a model.

    Attributes:
        kind: a name in `CONFIGS`.
        learning_rate: peak of the schedule.
        options: of the adapter, by the names that peft gives them.
    """

    kind: str
    learning_rate: float
    options: Mapping = field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in CONFIGS:
            raise ValueError(f"kind: {self.kind!r} is not one of {', '.join(CONFIGS)}")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate: {self.learning_rate!r} is not between 0 and 1")


def full(learning_rate: float = 5e-4) -> Method:
    """Full fine-tuning: every weight is trained."""
    return Method("full", learning_rate)


def qat(bits: int, learning_rate: float = 2e-4) -> Method:
    """Quantization-aware training: every weight is trained, and linear layers compute with theirs rounded to so many
    bits (2 to 8), as they will be used.

    `helpers.compression.quantized_models.converted` then makes them true integers. Source: Jacob et al. 2018, section
    3, through torchao.
    """
    return Method("qat", learning_rate, {"bits": bits})


def sparse(learning_rate: float = 5e-4) -> Method:
    """Full fine-tuning of a pruned model: every weight is trained, but for those of the linear layers that are exactly
    zero at the start: they stay zero.

    Source: Han et al. 2015, section 3 (retraining after pruning).
    """
    return Method("sparse", learning_rate)


def distilled(alpha: float = 0.5, temperature: float = 2.0, learning_rate: float = 1e-3) -> Method:
    """Distillation: every weight is trained, on the teacher's soft labels with weight alpha and on the hard ones with
    the rest.

    The loss is `helpers.compression.distillation.distillation_loss`; the teacher is given to
    `helpers.training.trainer.train`.

    Raises:
        ValueError: alpha not between 0 and 1, temperature not above 0.
    """
    check_mixture(alpha, temperature)
    return Method("distilled", learning_rate, {"alpha": alpha, "temperature": temperature})


def lora(
    rank: int = 8,
    targets: tuple[str, ...] = LINEAR,
    learning_rate: float = 4e-3,
    alpha: int | None = None,
    encoder: bool = True,
) -> Method:
    """Low-rank adaptation: W stays, W + (alpha/rank)·B·A is used, and only A (rank × in) and B (out × rank) are
    trained.

    Args:
        targets: names of the linear layers; all of them without a value. encoder: False leaves the encoder as it is.
        alpha: None takes 6·√rank: with a scale of 6/√rank one learning rate suits all ranks (Kalajdzievski 2023,
            theorem 3.2).
    Raises:
        ValueError: rank below 1.
    Source: Hu et al. 2021, section 4.1, through peft. Their targets are ("q", "v"); that all layers serve better:
        Dettmers et al. 2023, section 4.
    """
    if rank < 1:
        raise ValueError(f"rank: {rank!r} is not a whole number of at least 1")
    options = {
        "r": rank,
        "lora_alpha": round(6 * rank**0.5) if alpha is None else alpha,
        "target_modules": list(targets),
        "lora_dropout": 0.0,
    }
    return Method("lora", learning_rate, options | ({} if encoder else {"exclude_modules": r"encoder\..*"}))


def ia3(learning_rate: float = 3e-2) -> Method:
    """IA3: one trained factor for each key, value and feed-forward activation. Source: Liu et al. 2022, section 3.3."""
    return Method("ia3", learning_rate, {"target_modules": ["k", "v", "wo"], "feedforward_modules": ["wo"]})


def selective(targets: tuple[str, ...] = CROSS_ATTENTION, learning_rate: float = 2e-3) -> Method:
    """Selective fine-tuning: some of the model's own weights are trained, the others stay.

    Args:
        targets: names of the layers whose weights are trained, with all that is in them; `NORMS` are the scales of all
            normalisations.
    Source: cross-attention alone, Gheini et al. 2021, section 3; normalisations alone, Zhao et al. 2023, section 3;
        biases alone, Ben Zaken et al. 2021 (BitFit), which T5 has none of.
    """
    return Method("selective", learning_rate, {"targets": list(targets)})


def bottleneck(width: int = 16, learning_rate: float = 1e-2) -> Method:
    """Bottleneck adapters: a small network of `width` units behind every sublayer is trained, with the normalisations.

    Source: Houlsby et al. 2019, section 2.
    """
    return Method("bottleneck", learning_rate, {"width": width})


def prompt_tuning(virtual_tokens: int = 20, learning_rate: float = 0.9) -> Method:
    """Prompt tuning: trained vectors stand before the encoder's embeddings, the model stays as it is.

    They start as embeddings of random tokens of the vocabulary. Source: Lester et al. 2021, section 2.
    """
    return Method(
        "prompt",
        learning_rate,
        {
            "num_virtual_tokens": virtual_tokens,
            "num_transformer_submodules": 1,
            "prompt_tuning_init": PromptTuningInit.SAMPLE_VOCAB.value,
        },
    )


def prefix_tuning(virtual_tokens: int = 20, learning_rate: float = 0.1) -> Method:
    """Prefix tuning: trained keys and values stand before those of the text in every layer, the model stays as it is.

    Of an encoder-decoder peft gives them to the self-attention of the decoder alone. Source: Li and Liang 2021, section
    4.2, without the network that computes the prefix there.
    """
    return Method("prefix", learning_rate, {"num_virtual_tokens": virtual_tokens})


def lora_parameters(rank: int, shapes) -> int:
    """Weights that LoRA trains: r·(d + k) for each matrix of shape (d, k)."""
    return sum(rank * (rows + columns) for rows, columns in shapes)


def adapt(model, method: Method, seed: int = 0):
    """A copy of the model in float32, set up so that training changes what the method says and nothing else.

    Args:
        seed: of the adapter's starting values.
    Returns:
        a model of the same class for the kinds in `WHOLE` and for "bottleneck", else a PEFT model around a copy.
        `model` itself is left as it is.
    Raises:
        ValueError: options that the adapter does not have, or target layers that the model does not have.
    """
    adapted = copy.deepcopy(model).float()
    if method.kind in ("full", "distilled"):
        return adapted.requires_grad_(True)
    if method.kind == "sparse":
        return _zeros_kept(adapted.requires_grad_(True))
    if method.kind == "selective":
        return _selected(adapted, **method.options)
    if method.kind == "bottleneck":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return add_bottlenecks(adapted, **method.options)
    if method.kind == "qat":
        return fake_quantized(adapted.requires_grad_(True), **method.options)
    try:
        shape = prefix_shape(adapted) if method.kind == "prefix" else {}
        config = CONFIGS[method.kind](task_type=TaskType.SEQ_2_SEQ_LM, **shape, **method.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return get_peft_model(adapted, config)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"method {method.kind!r} with {dict(method.options)} does not fit {type(model).__name__}: {error}"
        ) from error


def prefix_shape(model) -> dict:
    """The shape of a decoder's keys and values, by peft's names: num_layers, num_attention_heads, and token_dim, the
    width of all heads together.

    peft takes the model's width for that of its heads, which in T5 may differ, and the encoder's numbers for the
    decoder's.
    """
    config = model.config
    layers, heads = (
        next(getattr(config, name) for name in names if getattr(config, name, None))
        for names in (DECODER_LAYERS, DECODER_HEADS)
    )
    width = getattr(config, "d_kv", config.hidden_size // heads)
    return {"num_layers": layers, "num_attention_heads": heads, "token_dim": heads * width}


def _selected(model, targets):
    """The model itself; only weights within layers of these names are trained."""
    chosen = {name for name, _ in model.named_parameters() if set(targets) & set(name.split("."))}
    if not chosen:
        raise ValueError(f"targets: {', '.join(targets)}: {type(model).__name__} has no layer of such a name")
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in chosen)
    return model


def _zeros_kept(model):
    """The model itself; gradients of weights that are zero now are zero too. Adam, whose averages then are zero, leaves
    such a weight bit for bit.
    """
    for name in linear_layers(model):
        weight = model.get_submodule(name).weight
        mask = weight.detach() != 0
        if not mask.all():
            weight.register_hook(lambda gradient, mask=mask: gradient * mask.to(gradient.device))
    return model
