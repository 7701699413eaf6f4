"""Distillation: students made of some of a teacher's layers, and the loss that lets them learn from its soft labels."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.functional import cross_entropy, log_softmax, pad, softmax
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import Seq2SeqLMOutput

from helpers.data.pairs import IGNORED, Collator
from helpers.models.generation import evaluating
from helpers.models.sizes import count_parameters


def soften(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """softmax(logits / T) over the last dimension, in float32: T = 1 gives the model's own distribution, a large T
    nearly the uniform one.

    Source: Hinton et al. 2015, equation 1.
    """
    return softmax(logits.float() / temperature, -1)


def soft_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher ‖ student) of both distributions at temperature T, in nats: (...,) for logits of (..., V).

    Written for the gradient of the student: what the teacher's logits are made of gets none.
    """
    teacher = log_softmax(teacher_logits.detach().float() / temperature, -1)
    student = log_softmax(student_logits.float() / temperature, -1)
    return (teacher.exp() * (teacher - student)).sum(-1)


def distillation_loss(
    student_logits: torch.Tensor, teacher_logits: torch.Tensor, labels: torch.Tensor, alpha: float, temperature: float
) -> torch.Tensor:
    """α · T² · KL(teacher at T ‖ student at T) + (1 − α) · cross-entropy with the hard labels at T = 1, mean over the
    labels that count.

    The gradients of the soft part shrink as 1/T²; the factor T² keeps both parts' weights when T changes.

    Args:
        student_logits, teacher_logits: (..., V) of the same positions, such as (B, T, V) for texts or (B, V) for
            classes.
        labels: (...) the hard labels; positions with `helpers.data.pairs.IGNORED`, such as padding, enter neither part.
        alpha: 0 (hard labels alone) to 1 (the teacher alone); temperature: above 0.
    Raises:
        ValueError: shapes that do not belong together, no label that counts, alpha or temperature out of range.
    Source: Hinton, Vinyals and Dean 2015, section 2.
    """
    check_mixture(alpha, temperature)
    if student_logits.shape != teacher_logits.shape or labels.shape != student_logits.shape[:-1]:
        raise ValueError(
            f"shapes: student {tuple(student_logits.shape)}, teacher {tuple(teacher_logits.shape)}, labels "
            f"{tuple(labels.shape)}; "
            "both logits need one shape, and the labels the same without its last dimension"
        )
    counts = labels != IGNORED
    if not counts.any():
        raise ValueError(f"labels: all of them are {IGNORED}; there is nothing to learn from")
    student, teacher = student_logits[counts].float(), teacher_logits[counts]  # (N, V)
    hard = cross_entropy(student, labels[counts])
    if alpha == 0:
        return hard
    return alpha * temperature**2 * soft_loss(student, teacher, temperature).mean() + (1 - alpha) * hard


def check_mixture(alpha: float, temperature: float):
    """Raises ValueError where alpha is not between 0 and 1, or the temperature not above 0."""
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha: {alpha!r} is not between 0 (hard labels alone) and 1 (the teacher alone)")
    if not temperature > 0:
        raise ValueError(f"temperature: {temperature!r} is not above 0")


def _key(input_ids, labels):
    return tuple(input_ids), tuple(labels)


@torch.no_grad()
def remembering(teacher, tokenizer, pairs, batch_size: int = 50):
    """The teacher with its answers to these pairs kept: many trainings on them then take its forward pass once instead
    of once each.

    Kept is what goes into the output head, (T, d) for each pair, since a frozen teacher says the same every time; the
    head itself is still computed.

    Args:
        pairs: as `helpers.data.pairs.encode_pairs` gives them; any other pair is answered with a KeyError.
    Returns:
        a model that shares the teacher's weights and configuration, for `helpers.training.trainer.train(...,
        teacher=…)`.
    """
    head, collate, seen, kept = teacher.get_output_embeddings(), Collator(tokenizer.pad_token_id), [], {}
    order = sorted(range(len(pairs)), key=lambda row: len(pairs[row]["input_ids"]))
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with evaluating(teacher):
        for start in range(0, len(order), batch_size):
            rows = [pairs[row] for row in order[start : start + batch_size]]
            teacher(**{name: tensor.to(teacher.device) for name, tensor in collate(rows).items()})
            kept |= {
                _key(row["input_ids"], row["labels"]): states[: len(row["labels"])].clone()
                for row, states in zip(rows, seen.pop())
            }
    hook.remove()

    def answer(input_ids, attention_mask, labels):
        keys = [
            _key(ids[real.bool()].tolist(), hard[hard != IGNORED].tolist())
            for ids, real, hard in zip(input_ids, attention_mask, labels)
        ]
        states = pad_sequence([kept[key] for key in keys], batch_first=True)
        missing = labels.shape[1] - states.shape[1]
        return Seq2SeqLMOutput(logits=head(pad(states, (0, 0, 0, missing))))  # (B, T, V)

    copied = copy.copy(teacher)
    copied.forward = answer
    return copied


def kept_layers(layers: int, kept: int) -> list[int]:
    """Which of so many layers a student keeps: evenly spaced, the first always (T5's first layer holds the relative
    positions), the last from two on.

    Raises:
        ValueError: fewer than one, or more than there are.
    Source: Shleifer and Rush 2020, section 3.2 (initialisation by copied layers).
    """
    if not 1 <= kept <= layers:
        raise ValueError(f"kept: {kept!r} of {layers} layers cannot be kept; give 1 to {layers}")
    return [round(place * (layers - 1) / max(1, kept - 1)) for place in range(kept)]


def keep_layers(stack, kept: int):
    """Leaves an encoder or decoder of T5 only so many of its layers (`kept_layers`), in place.

    Raises:
        ValueError: as `kept_layers`.
    """
    stack.block = nn.ModuleList(stack.block[place] for place in kept_layers(len(stack.block), kept))
    stack.config.num_layers = kept
    for place, block in enumerate(stack.block):
        for layer in block.layer[:-1]:  # the place of this layer's keys and values in the cache
            getattr(layer, "SelfAttention", getattr(layer, "EncDecAttention", None)).layer_idx = place


def student_of(teacher, encoder_layers: int, decoder_layers: int):
    """A smaller T5 of copied layers of the teacher, its embeddings, final norms and head: an ordinary model with a
    configuration of its own.

    Args:
        encoder_layers, decoder_layers: how many of each are kept (`kept_layers`). The teacher is left as it is.
    Raises:
        ValueError: a number of layers that the teacher does not have.
    """
    student = copy.deepcopy(teacher)
    keep_layers(student.encoder, encoder_layers)
    keep_layers(student.decoder, decoder_layers)
    student.config.num_layers, student.config.num_decoder_layers = encoder_layers, decoder_layers
    return student


def half_of(model) -> tuple[int, int]:
    """(encoder layers, decoder layers) of a student of a T5: the most, the same share of both, that leave at most half
    of its parameters; of those outside the embeddings where these are too large a part of the model.

    Raises:
        ValueError: even one layer of each is more than half of the layers.
    """
    layers = len(model.encoder.block), len(model.decoder.block)
    blocks = [
        sum(weight.numel() for weight in stack.block[-1].parameters()) for stack in (model.encoder, model.decoder)
    ]
    total = count_parameters(model).total
    rest = total - sum(size * number for size, number in zip(blocks, layers))
    for aside in (0, rest):
        for kept in range(max(layers), 0, -1):
            pair = tuple(max(1, number * kept // max(layers)) for number in layers)
            if rest - aside + sum(size * number for size, number in zip(blocks, pair)) <= (total - aside) / 2:
                return pair
    raise ValueError(
        f"model: one layer of its encoder and one of its decoder leave {(rest + sum(blocks)) / total:.0%} of "
        "its parameters, more than half; "
        "a student of copied layers cannot be so small"
    )
