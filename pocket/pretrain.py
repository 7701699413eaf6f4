"""Pre-trains pocket-t5 on the mixture: batches of few shapes, Muon for the matrices, resumable checkpoints."""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from transformers import T5Config, T5ForConditionalGeneration

from helpers.hardware import choose_dtype
from helpers.models.cpu import keep_freed_memory
from helpers.progress import progress
from pocket.mixture import COPYING, EASY_START, FINAL, MAIN
from pocket.t5_pass import compiled, t5_loss

WIDTHS = (32, 96, 160, 224, 320, 480, 704, 960)  # tokens of a batch's prompts
HEIGHTS = (16, 40, 72)  # tokens of its targets
SHORT = 320  # prompts up to here always teach relative positions, longer ones in every fourth batch
QUERY_SCALE, TABLE_SCALE = 0.3, 3.0  # of the rates of matrices and of vectors
STAGES = {"copying": (COPYING, 0.0), "easy": (EASY_START, 0.05), "main": (MAIN, 0.6), "final": (FINAL, 0.85)}


@dataclass(frozen=True)
class Recipe:
    """Sizes and rates of the pre-training run."""

    pieces: int = 1400  # of the vocabulary; the words of the lexicon come on top
    d_model: int = 256
    d_ff: int = 512
    d_kv: int = 48
    heads: int = 4
    layers: int = 3
    decoder_layers: int = 3
    stages: tuple[tuple[str, int], ...] = (("copying", 4), ("easy", 6), ("main", 26), ("final", 8))  # name, pools
    pool_size: int = 8192  # examples drawn and sorted by length at a time; checkpoints fall between pools
    tokens_per_batch: int = 8000
    matrix_rate: float = 2e-3  # Muon's
    vector_rate: float = 3.5e-3  # AdamW's: embeddings, positions, norms
    warmup_steps: int = 100
    constant: float = 0.4  # share of the pools after which the rates begin to fall
    seed: int = 20
    compile: bool = True  # where a compiler is at hand

    @property
    def total_pools(self):
        """Pools from the first to the last."""
        return sum(pools for _, pools in self.stages)

    @classmethod
    def smoke(cls):
        """The whole way in seconds, with a model that learns nothing worth keeping."""
        return cls(
            pieces=700,
            d_model=32,
            d_ff=64,
            d_kv=16,
            heads=2,
            layers=1,
            decoder_layers=1,
            stages=tuple((name, 1) for name in STAGES),
            pool_size=96,
            warmup_steps=2,
            compile=False,
        )


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
    model = T5ForConditionalGeneration(config)
    _help_copying(model)
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


def parameter_groups(weights, recipe):
    """(Muon's groups, AdamW's groups) of {name: weight}: matrices within the blocks; embeddings, positions and norms.

    T5's attention is unscaled: its queries learn at a fraction of the rate. Source: Muon, Jordan et al. 2024.
    """
    groups = {"query": [], "matrix": [], "table": [], "norm": []}
    for name, weight in weights.items():
        kind = (
            "query"
            if name.endswith(".q.weight")
            else "table"
            if "shared" in name or "relative_attention_bias" in name
            else "matrix"
            if weight.ndim == 2
            else "norm"
        )
        groups[kind].append(weight)
    rates = {
        "query": QUERY_SCALE * recipe.matrix_rate,
        "matrix": recipe.matrix_rate,
        "table": TABLE_SCALE * recipe.vector_rate,
        "norm": recipe.vector_rate,
    }
    groups = {
        kind: {"params": found, "lr": rates[kind], "highest": rates[kind]} for kind, found in groups.items() if found
    }
    return [groups["query"], groups["matrix"]], [groups["table"], groups["norm"]]


def encode(examples, tokenizer):
    """[(prompt ids, target ids)] of the examples that fit; the few that are too long are left out."""
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    targets = tokenizer([example.target for example in examples])["input_ids"]
    return [
        (prompt, target)
        for prompt, target in zip(prompts, targets)
        if len(prompt) <= WIDTHS[-1] and len(target) <= HEIGHTS[-1]
    ]


def _least(sizes, length):
    return next(size for size in sizes if length <= size)


def batches(pairs, tokens_per_batch, rng):
    """Batches of few shapes, each full: (input_ids (B, S), attention_mask (B, S), labels (B, T) with -100 on padding).

    S is one of `WIDTHS`, T one of `HEIGHTS`, B what the tokens allow. Each shape is compiled once. Pairs that fill no
    batch of theirs go to the next width; the last batch of a height takes some pairs of it twice.
    """
    groups = []
    for height in HEIGHTS:
        fitting = [pair for pair in pairs if _least(HEIGHTS, len(pair[1])) == height]
        waiting = []
        for width in WIDTHS:
            waiting += [pair for pair in fitting if _least(WIDTHS, len(pair[0])) == width]
            rows = max(4, tokens_per_batch // (width + 2 * height) // 4 * 4)
            while len(waiting) >= rows or (waiting and not any(len(pair[0]) > width for pair in fitting)):
                group, waiting = waiting[:rows], waiting[rows:]
                group += rng.choices(group, k=rows - len(group))
                groups.append(_tensors(group, width, height))
    rng.shuffle(groups)
    return groups


def _tensors(group, width, height):
    inputs = torch.zeros(len(group), width, dtype=torch.long)
    labels = torch.full((len(group), height), -100)
    for row, (prompt, target) in enumerate(group):
        inputs[row, : len(prompt)] = torch.tensor(prompt)
        labels[row, : len(target)] = torch.tensor(target)
    return inputs, (inputs != 0).long(), labels


class Pretraining:
    """One run: draws pools, steps, reports losses by number of shots, keeps a checkpoint it can resume from.

    The pass runs in bfloat16 where the hardware computes in it; weights and optimizer stay in float32.
    """

    def __init__(self, recipe, mixture, tokenizer, probes, folder):
        self.recipe, self.mixture, self.tokenizer, self.probes = recipe, mixture, tokenizer, probes
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_freed_memory()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.dtype = getattr(torch, choose_dtype(self.device)[0]) if recipe.compile else torch.float32
        self.model = new_model(recipe, tokenizer).to(self.device)
        self.weights = dict(self.model.named_parameters())
        self.copies = {
            name: weight.detach().to(self.dtype, copy=True).requires_grad_() for name, weight in self.weights.items()
        }
        matrices, vectors = parameter_groups(self.weights, recipe)
        self.optimizers = [
            torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(vectors, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
        ]
        self.loss = compiled(t5_loss, recipe.compile)
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

    @property
    def identity(self):
        return json.dumps(asdict(self.recipe))

    def resume(self):
        """Takes up the checkpoint of an interrupted run of the same recipe; returns the number of finished pools."""
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True, map_location=self.device)
            if state["recipe"] != self.identity or state["vocabulary"] != self.vocabulary:
                raise ValueError(
                    f"{self.checkpoint} belongs to another recipe or to other texts; delete it or give another folder"
                )
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            for key in ("done", "steps", "seconds", "tokens", "log"):
                setattr(self, key, state[key])
            self._copy()
        return self.done

    def _save(self):
        state = {
            "recipe": self.identity,
            "vocabulary": self.vocabulary,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
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

    @torch.no_grad()
    def _copy(self):
        torch._foreach_copy_(list(self.copies.values()), list(self.weights.values()))

    def _set_rate(self, position):
        """A warm-up, a constant stretch, a linear fall to a fiftieth; `position` is counted in pools."""
        recipe = self.recipe
        flat = recipe.constant * recipe.total_pools
        falling = (recipe.total_pools - position) / (recipe.total_pools - flat)
        factor = min(1.0, max(0.02, falling)) * min(1.0, (self.steps + 1) / recipe.warmup_steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["highest"] * factor

    def _pool(self, number):
        recipe = self.recipe
        stage = [name for name, pools in recipe.stages for _ in range(pools)][number]
        examples = self.mixture.sample(recipe.pool_size, (recipe.seed, number), *STAGES[stage])
        return batches(encode(examples, self.tokenizer), recipe.tokens_per_batch, random.Random(f"order|{number}"))

    def _loss_of(self, loss, batch, teach_positions):
        inputs, mask, labels = (tensor.to(self.device) for tensor in batch)
        return loss(self.copies, inputs, mask, labels, self.model.config, teach_positions)

    def _step(self, batch, teach_positions):
        loss = self._loss_of(self.loss, batch, teach_positions)
        loss.backward()
        for name, copy in self.copies.items():
            self.weights[name].grad, copy.grad = None if copy.grad is None else copy.grad.float(), None
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self._copy()
        self.steps += 1
        self.tokens += int(batch[1].sum()) + int((batch[2] >= 0).sum())
        return loss.item()

    def _train_pool(self, number):
        pool, losses = self._pool(number), []
        for index, batch in enumerate(pool):
            self._set_rate(number + index / len(pool))
            losses.append(self._step(batch, batch[0].shape[1] <= SHORT or index % 4 == 0))
        return sum(losses) / len(losses)

    @torch.no_grad()
    def probe(self):
        """Loss on held-out examples, one figure a kind: watch 0, 1 and 3 shots draw apart."""
        return {
            name: round(sum(self._loss_of(t5_loss, batch, False).item() for batch in group) / len(group), 4)
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
        return self.model.cpu().eval()
