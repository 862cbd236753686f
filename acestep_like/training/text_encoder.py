"""The text encoder's warm-up: it learns its words before the DiT needs them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from acestep_like.training.loop import Budget, Meter, learning_rate, mixed_precision


def warm_up_text_encoder(
    encoder: nn.Module,
    draw: Callable[[int], tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]],
    *,
    minutes: float,
    device: str,
    steps: int | None = None,
    batch: int = 256,
    log: Callable[[str], None] = print,
) -> dict[str, float]:
    """Teach the text encoder its words before the DiT needs them: predict what a caption says from its last token.

    `draw(n)` gives token ids [n, L], lengths [n] and targets by name: class indices [n] (int64, -1 = not said) or
    multi-hot floats [n, k]. Answers the final running accuracy of each class target.
    """
    torch.manual_seed(5)
    encoder.to(device)
    width = encoder.config.hidden_size
    _, _, example = draw(512)
    counts = {
        name: int(target.max()) + 1 if target.dtype == torch.int64 else target.shape[1]
        for name, target in example.items()
    }
    heads = nn.ModuleDict({name: nn.Linear(width, max(count, 2) + 8) for name, count in counts.items()})
    heads.to(device)
    parameters = [*encoder.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    budget = Budget(minutes, steps)
    meter = Meter("text", budget, log, every=50 if steps is None else 5)
    accuracy: dict[str, float] = {}
    for step in budget:
        ids, lengths, targets = draw(batch)
        ids, lengths = ids.to(device), lengths.to(device)
        with mixed_precision(device):
            states = encoder(input_ids=ids.long()).last_hidden_state
        last = states[torch.arange(len(ids), device=device), lengths - 1].float()
        losses = {}
        for name, target in targets.items():
            target, logits = target.to(device), heads[name](last)
            if target.dtype == torch.int64:
                losses[name] = F.cross_entropy(logits, target, ignore_index=-1, reduction="sum") / len(target)
                said = target >= 0
                if step % 10 == 0 and bool(said.any()):
                    right = float((logits.argmax(1)[said] == target[said]).float().mean())
                    accuracy[name] = 0.8 * accuracy.get(name, right) + 0.2 * right
            else:
                losses[name] = 4 * F.binary_cross_entropy_with_logits(logits[:, : target.shape[1]], target)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(2e-3, budget.fraction, step, warmup_steps=30)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        meter.add(len(ids), **losses)
    log("text: accuracy " + " ".join(f"{name} {value:.2f}" for name, value in accuracy.items()))
    return accuracy
