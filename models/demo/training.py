"""The loop all stages share: warm-up and decay, an averaged copy of the weights, and checkpoints to resume from."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

log = logging.getLogger("models.demo")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns."""

    steps: int
    batch: int
    learning_rate: float
    warm_up: int = 50
    decay: float = 0.4  # the last part of the run, in which the learning rate falls to zero
    averaging: float = 0.998
    precision: str = "no"  # or "bf16": what the forward pass computes in

    def rate(self, step: int) -> float:
        """The learning rate at a step, counted from 0."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warm_up), max(left, 0.01))


class Trainer:
    """Trains one module and remembers where it was.

    The randomness of a step depends on the seed and the step's number alone, so a run that was stopped and resumed
    sees the same pictures as one that was not.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        schedule: Schedule,
        folder: Path,
        seed: int,
        paces: Sequence[tuple[Sequence[nn.Parameter], float]] = (),
    ) -> None:
        """``paces`` are parts of the module with the share of the learning rate at which each learns."""
        self.name, self.schedule, self.seed = name, schedule, seed
        self.accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=schedule.precision)
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.pt"
        self.module = module.to(self.accelerator.device)
        groups = [{"params": list(part), "pace": pace} for part, pace in paces or [(list(module.parameters()), 1.0)]]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.average = [parameter.detach().clone() for parameter in module.parameters()]
        self.step = 0
        if self.path.exists():
            self._resume()

    @property
    def device(self) -> torch.device:
        """Where the batches go."""
        return self.accelerator.device

    def run(self, loss: Callable[[np.random.Generator], Tensor], save_every: int = 100) -> None:
        """Take the remaining steps; ``loss`` makes its own batch from the generator it is given."""
        started, first, recent = time.monotonic(), self.step, []
        while self.step < self.schedule.steps:
            dice = np.random.default_rng((self.seed, self.step, self.accelerator.process_index))
            torch.manual_seed(int(dice.integers(2**31)))
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate(self.step) * group.get("pace", 1.0)
            with self.accelerator.autocast():
                value = loss(dice)
            self.accelerator.backward(value)
            self._share_gradients()
            self.accelerator.clip_grad_norm_(self.module.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            self._update_average()
            self.step += 1
            recent.append(value.item())
            if self.step % 20 == 0 and self.accelerator.is_main_process:
                pace = (time.monotonic() - started) / (self.step - first)
                progress = f"{self.name} {self.step}/{self.schedule.steps}"
                log.info("%s loss %.4f, %.2f s a step", progress, np.mean(recent), pace)
                recent.clear()
            if self.step % save_every == 0:
                self.save()
        self.save()

    def save(self) -> None:
        """Write everything a later run needs to go on from here."""
        if not self.accelerator.is_main_process:
            return
        state = {
            "module": self.module.state_dict(), "optimizer": self.optimizer.state_dict(),
            "average": self.average, "step": self.step,
        }  # fmt: skip
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def averaged(self) -> nn.Module:
        """The module, holding the averaged weights."""
        with torch.no_grad():
            for parameter, mean in zip(self.module.parameters(), self.average, strict=True):
                parameter.copy_(mean)
        return self.module.eval()

    def _share_gradients(self) -> None:
        """Average the gradients of all processes: one message a step, however many tensors there are."""
        if self.accelerator.num_processes == 1:
            return
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        joined = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in gradients]), reduction="mean")
        parts = joined.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def _update_average(self) -> None:
        weight = 1 - min(self.schedule.averaging, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.detach() for p in self.module.parameters()], weight)

    def _resume(self) -> None:
        state = torch.load(self.path, map_location=self.device.type, weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.step = state["average"], state["step"]
