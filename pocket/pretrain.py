"""Pre-trains pocket-t5 on the mixture: batches of few shapes, a learning rate per kind of weight, resumable
checkpoints.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import AttentionInterface, T5Config, T5ForConditionalGeneration
from transformers.masking_utils import AttentionMaskInterface

from helpers.models.cpu import attend, fuse_gelu, keep_freed_memory, own_lengths, padding_mask
from helpers.progress import progress
from pocket.mixture import COPYING, EASY_START, MAIN, POLISHING, REFINING, WHOLE

SHORT = 256  # tokens: inputs up to here always teach relative positions


@dataclass(frozen=True)
class Recipe:
    """Sizes and rates of the pre-training run."""

    vocab_size: int = 5000
    d_model: int = 192
    d_ff: int = 512
    d_kv: int = 48
    heads: int = 4
    layers: int = 3
    decoder_layers: int = 3
    copy_pools: int = 5  # pools end here: words to copy, at twice the learning rate
    easy_pools: int = 13  # words and very short dialogues
    short_pools: int = 63  # excerpts mostly; whole dialogues as often from here on
    pools: int = 93  # the rate has fallen to its end
    refining_pools: int = 10  # on top: the rate starts again at half its height, for the longest prompts and questions
    polishing_pools: tuple[int, ...] = (
        28,
        15,
    )  # and again for each of these, with exemplars that differ among themselves
    long_positions_from: int = 134  # pools: from here on every third batch teaches positions, however long it is
    tokens_per_batch: int = 4000  # a third of it until the easy pools end
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    pool_size: int = 2048  # examples drawn and sorted by length at a time; checkpoints fall between pools
    window: int = 1024
    longest_target: int = 144
    seed: int = 20

    @property
    def total_pools(self):
        """Pools from the first to the last."""
        return self.pools + self.refining_pools + sum(self.polishing_pools)

    @classmethod
    def smoke(cls):
        """The whole way in seconds, with a model that learns nothing worth keeping."""
        return cls(
            vocab_size=1500,
            d_model=32,
            d_ff=64,
            d_kv=16,
            heads=2,
            layers=1,
            decoder_layers=1,
            copy_pools=1,
            easy_pools=2,
            short_pools=3,
            pools=4,
            refining_pools=1,
            polishing_pools=(1, 1),
            long_positions_from=6,
            pool_size=96,
        )


class FrugalAttention:
    """T5's attention where positions learn from inputs of at most `learns_from` tokens: longer ones take them as they
    are, three times as fast.

    The buckets of the relative positions end at 128 tokens, so that short inputs hold every distance. But what a far
    token is worth differs in long prompts, where it mostly belongs to another dialogue: at the end some long inputs
    teach positions too. Takes and returns what `helpers.models.cpu.own_lengths` does.
    """

    learns_from = SHORT

    def __call__(self, module, query, key, value, attention_mask, position_bias=None, **options):
        long = key.shape[2] > SHORT
        if key.shape[2] > self.learns_from and position_bias is not None:
            position_bias = position_bias.detach()
        return (own_lengths if long else attend)(
            module, query, key, value, attention_mask, position_bias=position_bias, **options
        )


frugal_attention = FrugalAttention()
AttentionInterface.register("frugal", frugal_attention)
AttentionMaskInterface.register("frugal", padding_mask)


def new_model(recipe, tokenizer):
    """An untrained T5 v1.1 (gated GELU, Shazeer 2020), its weights drawn so that copying is near.

    Embeddings have half the usual scale. One head looks one token back and one at the next (encoder) or the same token
    (decoder); cross-attention writes what it reads as it is (its output map inverts its value map), so that through the
    tied embeddings a token attended to votes for itself. On pure copying, one run each at the same rate with the same
    position biases, the loss after about 190 steps was 2.0 with this map and 6.1 without.
    """
    torch.manual_seed(recipe.seed)
    config = T5Config(
        vocab_size=8 * -(-len(tokenizer) // 8),
        d_model=recipe.d_model,
        d_ff=recipe.d_ff,
        d_kv=recipe.d_kv,
        num_heads=recipe.heads,
        num_layers=recipe.layers,
        num_decoder_layers=recipe.decoder_layers,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        tie_word_embeddings=True,
        decoder_start_token_id=0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = T5ForConditionalGeneration._from_config(config, attn_implementation="frugal")
    _help_copying(model)
    fuse_gelu(model)  # a fifth faster to train
    return model


@torch.no_grad()
def _help_copying(model, sharpness=4.0):
    model.shared.weight.mul_(0.5)
    first = model.encoder.block[0].layer[0].SelfAttention
    behind, same, ahead = 1, 0, first.relative_attention_num_buckets // 2 + 1  # buckets of relative positions
    first.relative_attention_bias.weight[behind, 0] += sharpness
    first.relative_attention_bias.weight[ahead, 1] += sharpness
    bias = model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight
    bias[behind, 0] += sharpness
    bias[same, 1] += sharpness
    for block in model.decoder.block:
        attention = block.layer[1].EncDecAttention
        basis = torch.linalg.qr(torch.randn(model.config.d_model, model.config.d_model))[0][: attention.inner_dim]
        attention.v.weight.copy_(basis)
        attention.o.weight.copy_(basis.T)


def parameter_groups(model, rate):
    """AdamW groups. T5's attention is unscaled: its queries learn at 0.15 of the rate, embeddings and positions at 3
    times.
    """
    groups = {"query": [], "embedding": [], "other": []}
    for name, weight in model.named_parameters():
        kind = (
            "query"
            if name.endswith(".q.weight")
            else "embedding"
            if "shared" in name or "relative_attention_bias" in name
            else "other"
        )
        groups[kind].append(weight)
    scale = {"query": 0.15, "embedding": 3.0, "other": 1.0}
    return [{"params": weights, "scale": scale[kind], "lr": rate * scale[kind]} for kind, weights in groups.items()]


def encode(examples, tokenizer, recipe):
    """[(prompt ids, target ids)] of the examples that fit; the few that are too long are left out."""
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    targets = tokenizer([example.target for example in examples])["input_ids"]
    return [
        (prompt, target)
        for prompt, target in zip(prompts, targets)
        if len(prompt) <= recipe.window and len(target) <= recipe.longest_target
    ]


def _up(length, step):
    return step * -(-length // step)


def batches(pairs, tokens_per_batch, rng):
    """Batches of similar length: prompts padded to multiples of 32, targets to multiples of 8, counts to multiples of
    4.

    Yields (input_ids (B, S), attention_mask (B, S), labels (B, T) with -100 on padding). Few shapes keep the CPU's
    matrix kernels warm: freely varying ones run at a third of the speed.
    """
    pairs = sorted(pairs, key=lambda pair: (_up(len(pair[0]), 32), len(pair[1])))
    groups, start = [], 0
    while start < len(pairs):
        size = 4
        while start + size < len(pairs):
            span = pairs[start : start + size + 4]
            width = _up(max(len(prompt) for prompt, _ in span), 32) + 2 * _up(max(len(target) for _, target in span), 8)
            if width * (size + 4) > tokens_per_batch:
                break
            size += 4
        groups.append(pairs[start : start + size])
        start += size
    rng.shuffle(groups)
    for group in groups:
        yield _tensors(group)


def _tensors(group):
    width = _up(max(len(prompt) for prompt, _ in group), 32)
    height = _up(max(len(target) for _, target in group), 8)
    inputs = torch.zeros(len(group), width, dtype=torch.long)
    mask = torch.zeros(len(group), width, dtype=torch.long)
    labels = torch.full((len(group), height), -100)
    for row, (prompt, target) in enumerate(group):
        inputs[row, : len(prompt)] = torch.tensor(prompt)
        mask[row, : len(prompt)] = 1
        labels[row, : len(target)] = torch.tensor(target)
    return inputs, mask, labels


def loss_of(model, batch):
    """Mean cross-entropy per target token, in nats."""
    inputs, mask, labels = batch
    decoder_inputs = model._shift_right(labels)
    logits = model(input_ids=inputs, attention_mask=mask, decoder_input_ids=decoder_inputs, use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


class Pretraining:
    """One run: draws pools, steps, reports losses by number of shots, keeps a checkpoint it can resume from."""

    def __init__(self, recipe, mixture, tokenizer, probes, folder):
        self.recipe, self.mixture, self.tokenizer, self.probes = recipe, mixture, tokenizer, probes
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_freed_memory()
        self.model = new_model(recipe, tokenizer)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, recipe.learning_rate), betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.done, self.steps, self.seconds, self.tokens, self.log = 0, 0, 0.0, 0, []

    @property
    def checkpoint(self):
        return self.folder / "checkpoint.pt"

    @property
    def vocabulary(self):
        """Changes with the texts, from which the pieces are counted: a checkpoint of other texts must not be taken
        up.
        """
        return hashlib.sha256(json.dumps(sorted(self.tokenizer.get_vocab().items())).encode()).hexdigest()

    def resume(self):
        """Takes up the checkpoint of an interrupted run of the same recipe; returns the number of finished pools."""
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            if state["recipe"] != asdict(self.recipe) or state["vocabulary"] != self.vocabulary:
                raise ValueError(
                    f"{self.checkpoint} belongs to another recipe or to other texts; delete it or give another folder"
                )
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for key in ("done", "steps", "seconds", "tokens", "log"):
                setattr(self, key, state[key])
        return self.done

    def _save(self):
        state = {
            "recipe": asdict(self.recipe),
            "vocabulary": self.vocabulary,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "done": self.done,
            "steps": self.steps,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "log": self.log,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)
        (self.folder / "log.json").write_text(json.dumps(self.log, indent=1), encoding="utf-8", newline="\n")

    def _set_rate(self, position):
        """Twice the rate while copying is learned, then the rate, then a linear fall to a fiftieth; and again from its
        half in each later stage.

        `position` is counted in pools.
        """
        recipe = self.recipe
        falling, start = (recipe.pools - position) / (recipe.pools - recipe.easy_pools), recipe.pools
        for pools in (recipe.refining_pools, *recipe.polishing_pools):
            if position >= start:
                falling = 0.5 * (start + pools - position) / pools
            start += pools
        factor = 2.0 if position < recipe.copy_pools else min(1.0, max(0.02, falling))
        rate = recipe.learning_rate * factor * min(1.0, (self.steps + 1) / recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]

    def _pool(self, number):
        recipe = self.recipe
        phases = (  # up to which pool, kinds of examples, share of whole dialogues
            (recipe.copy_pools, COPYING, 0.05),
            (recipe.easy_pools, EASY_START, 0.05),
            (recipe.short_pools, MAIN, 0.05),
            (recipe.pools, WHOLE, 0.5),
            (recipe.pools + recipe.refining_pools, REFINING, 0.8),
            (recipe.total_pools, POLISHING, 0.9),
        )
        weights, whole = next(rest for end, *rest in phases if number < end)
        examples = self.mixture.sample(recipe.pool_size, (recipe.seed, number), weights, whole)
        size = recipe.tokens_per_batch // (3 if number < recipe.easy_pools else 1)
        return list(batches(encode(examples, self.tokenizer, recipe), size, random.Random(f"order|{number}")))

    def _train_pool(self, number):
        pool = self._pool(number)
        losses = []
        for index, batch in enumerate(pool):
            self._set_rate(number + index / len(pool))
            frugal_attention.learns_from = (
                math.inf if number >= self.recipe.long_positions_from and index % 3 == 0 else SHORT
            )
            loss = loss_of(self.model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.steps += 1
            self.tokens += int(batch[1].sum()) + int((batch[2] >= 0).sum())
            losses.append(loss.item())
        return sum(losses) / len(losses)

    @torch.no_grad()
    def probe(self):
        """Loss on held-out examples, one figure a kind: watch 0, 1 and 3 shots draw apart."""
        return {
            name: round(sum(loss_of(self.model, batch).item() for batch in group) / len(group), 4)
            for name, group in self.probes.items()
        }

    def run(self):
        """Trains to the end of the recipe; Ctrl-C loses at most one pool. Returns the model in evaluation mode."""
        self.resume()
        total = self.recipe.total_pools
        bar = progress(range(self.done, total), desc="pre-training", unit="pool", initial=self.done, total=total)
        for number in bar:
            start = time.perf_counter()
            loss = self._train_pool(number)
            self.seconds += time.perf_counter() - start
            self.done = number + 1
            self.log.append(
                {
                    "pool": self.done,
                    "seconds": round(self.seconds),
                    "tokens": self.tokens,
                    "loss": round(loss, 4),
                    **(self.probe() if self.done % 4 == 0 or self.done == total else {}),
                }
            )
            self._save()
            bar.set_postfix(self.log[-1], refresh=False)
        return self.model.eval()
