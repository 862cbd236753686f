"""What the words mean: heads that read a caption's content from the text encoder's last token.

They teach the text encoder its words before the DiT needs them and keep them taught while the DiT trains, whose own
loss says little about words: most of what a latent frame shall be can be seen in its noisy neighbours. Nothing of the
heads is shipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from acestep_like.training.loop import Budget, Meter, learning_rate, mixed_precision

Draw = Callable[[int], tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]]
"""`draw(n)` gives token ids [n, L], lengths [n] and targets by name: class indices [n] (int64, -1 = not said) or
multi-hot floats [n, k]."""


class WordHeads(nn.Module):
    """One linear head a target on the text encoder's last token."""

    def __init__(self, width: int, draw: Draw) -> None:
        super().__init__()
        self.draw = draw
        _, _, example = draw(512)
        counts = {
            name: max(int(target.max()) + 1, 2) + 8 if target.dtype == torch.int64 else target.shape[1]
            for name, target in example.items()
        }
        self.heads = nn.ModuleDict({name: nn.Linear(width, count) for name, count in counts.items()})

    def forward(self, encoder: nn.Module, count: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Logits and target of `count` new captions, by the target's name."""
        ids, lengths, targets = self.draw(count)
        device = next(self.parameters()).device
        ids, lengths = ids[:, : int(lengths.max())].to(device), lengths.to(device)
        with mixed_precision(device):
            states = encoder(input_ids=ids.long()).last_hidden_state
        last = states[torch.arange(len(ids), device=device), lengths - 1].float()
        return {name: (self.heads[name](last), target.to(device)) for name, target in targets.items()}


def word_losses(answers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """What the heads have to learn, by target."""
    return {
        name: F.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / len(target)
        if target.dtype == torch.int64
        else 4 * F.binary_cross_entropy_with_logits(logits, target)
        for name, (logits, target) in answers.items()
    }


def word_accuracies(answers: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> dict[str, float]:
    """Share of right answers of each class target that the captions say. Waits for the device."""
    found = {}
    for name, (logits, target) in answers.items():
        if target.dtype == torch.int64 and bool((said := target >= 0).any()):
            found[name] = float((logits.argmax(1)[said] == target[said]).float().mean())
    return found


def warm_up_text_encoder(
    encoder: nn.Module,
    draw: Draw,
    *,
    minutes: float,
    device: str,
    steps: int | None = None,
    batch: int = 256,
    log: Callable[[str], None] = print,
) -> tuple[WordHeads, dict[str, float]]:
    """Teach the text encoder its words. Answers the heads, and the final running accuracy of each class target."""
    torch.manual_seed(5)
    encoder.to(device)
    config: Any = encoder.config
    heads = WordHeads(config.hidden_size, draw).to(device)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    budget = Budget(minutes, steps)
    meter = Meter("text", budget, log, every=50 if steps is None else 5)
    running: dict[str, float] = {}
    for step in budget:
        answers = heads(encoder, batch)
        losses = word_losses(answers)
        for name, value in word_accuracies(answers).items():
            running[name] = 0.95 * running.get(name, value) + 0.05 * value
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(2e-3, budget.fraction, step, warmup_steps=30)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        meter.add(batch, **losses)
    log("text: accuracy " + " ".join(f"{name} {value:.2f}" for name, value in running.items()))
    return heads, running
