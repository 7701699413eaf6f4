"""Checkpoints of PPO: adapter, value head, optimiser, random states and all that the next step depends on, in safetensors and JSON."""

from __future__ import annotations

import shutil

import torch
from safetensors.torch import load_file, save_file

from helpers.runs import latest_checkpoint, notes, seal

KEPT = 2        # checkpoints: the newest, and the one before in case the newest was not written to its end


def _optimizer_tensors(optimizer):
    """"optimizer.<number of the weight>.<slot>" -> tensor."""
    return {f"optimizer.{number}.{slot}": torch.as_tensor(value) for number, slots in optimizer.state_dict()["state"].items()
            for slot, value in slots.items()}


def save_checkpoint(trainer):
    """Writes everything; the seal, written last, says that the checkpoint is whole. Older ones but one are deleted."""
    step = len(trainer.history)
    target = trainer.folder / f"checkpoint-{step}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    tensors = {f"policy.{name}": weight.detach() for name, weight in trainer.policy.trained().items()} | _optimizer_tensors(trainer.optimizer)
    tensors["generator"] = trainer.generator.get_state()
    save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, target / "state.safetensors")
    seal(target, history=trainer.history, kl_coef=trainer.kl_coef, queue=trainer.queue, order=trainer.order.getstate())
    for old in sorted(trainer.folder.glob("checkpoint-*"), key=lambda path: -int(path.name.split("-")[1]))[KEPT:]:
        shutil.rmtree(old)


def resume(trainer) -> list[str]:
    """Puts the trainer where its newest whole checkpoint was; a sentence for each newer one that is not whole."""
    if trainer.folder is None or trainer.history:
        return []
    checkpoint, faults = latest_checkpoint(trainer.folder)
    if checkpoint is not None:
        tensors, kept = load_file(checkpoint / "state.safetensors"), notes(checkpoint)
        with torch.no_grad():
            for name, weight in trainer.policy.trained().items():
                weight.copy_(tensors[f"policy.{name}"])
        state = trainer.optimizer.state_dict()
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, number, slot = name.split(".")
                state["state"].setdefault(int(number), {})[slot] = tensor
        trainer.optimizer.load_state_dict(state)
        trainer.generator.set_state(tensors["generator"])
        version, numbers, gauss = kept["order"]
        trainer.order.setstate((version, tuple(numbers), gauss))
        trainer.history[:], trainer.kl_coef, trainer.queue = kept["history"], kept["kl_coef"], kept["queue"]
    return faults
