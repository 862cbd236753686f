"""The DiT as a denoiser: condition and context bound, keys and values of the condition computed once."""

from __future__ import annotations

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel

from acestep_like.diffusion.attention import ConditionCache, use_condition_cache


class DiTDenoiser:
    """Velocities of an `AceStepTransformer1DModel` for one condition and one context.

    Args:
        transformer: the DiT.
        condition: packed condition [B, L, D]; padded positions are attended, as upstream.
        context: source, mask and guide channels [B, T, C'].
        null_condition: [1, 1, D] embedding of "no condition" for guidance, or None.
        null_context: context of the unconditional half; the same as `context` by default.
    """

    def __init__(
        self,
        transformer: AceStepTransformer1DModel,
        condition: torch.Tensor,
        context: torch.Tensor,
        *,
        null_condition: torch.Tensor | None = None,
        null_context: torch.Tensor | None = None,
    ) -> None:
        dtype = transformer.dtype
        self._transformer = transformer
        self._condition = condition.to(dtype)
        self._context = context.to(dtype)
        self._cache = ConditionCache()
        self._has_null = null_condition is not None
        if null_condition is not None:
            null = null_condition.to(self._condition).expand_as(self._condition)
            other = self._context if null_context is None else null_context.to(dtype)
            self._both_conditions = torch.cat([self._condition, null])
            self._both_contexts = torch.cat([self._context, other])
            self._both_cache = ConditionCache(conditional_rows=len(self._condition))

    def velocity(self, x: torch.Tensor, t: float, *, corrector: bool = False) -> torch.Tensor:
        """v [B, T, C] of the conditional half, in the dtype of x."""
        return self._run(x, t, self._condition, self._context, self._cache)

    def velocities(self, x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(conditional, unconditional) velocities, each [B, T, C], in one doubled batch."""
        if not self._has_null:
            raise ValueError("this denoiser was made without a null condition")
        doubled = self._run(torch.cat([x, x]), t, self._both_conditions, self._both_contexts, self._both_cache)
        cond, uncond = doubled.chunk(2)
        return cond, uncond

    def _run(
        self, x: torch.Tensor, t: float, condition: torch.Tensor, context: torch.Tensor, cache: ConditionCache
    ) -> torch.Tensor:
        if len(cache.by_layer) == len(self._transformer.layers):
            condition = condition[:, :1]  # every layer has its keys and values; nothing reads this any more
        time = torch.full((x.shape[0],), t, device=x.device, dtype=self._transformer.dtype)
        with torch.no_grad(), use_condition_cache(self._transformer, cache):
            (velocity,) = self._transformer(
                hidden_states=x.to(self._transformer.dtype),
                timestep=time,
                timestep_r=time,
                encoder_hidden_states=condition,
                context_latents=context,
                return_dict=False,
            )
        return velocity.to(x.dtype)
