"""The DiT as a denoiser: condition and context bound, keys and values of the condition computed once."""

from __future__ import annotations

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel

from acestep_like.models.diffusion.attention import ConditionCache, use_condition_cache
from acestep_like.models.diffusion.cuda_graphs import Evaluate, GraphedEvaluation
from acestep_like.models.diffusion.static_shapes import Padding, use_masks


class DiTDenoiser:
    """Velocities of an `AceStepTransformer1DModel` for one condition and one context.

    Args:
        transformer: the DiT.
        condition: packed condition [B, L, D]; padded positions are attended, as upstream.
        context: source, mask and guide channels [B, T, C'].
        null_condition: [1, 1, D] embedding of "no condition" for guidance, or None.
        null_context: context of the unconditional half; the same as `context` by default.
        cuda_graphs: replay evaluations as CUDA graphs (on CUDA, with the condition cache installed).
        static_shapes: pad to buckets of length, for compiled blocks (with masked attention installed).
    """

    def __init__(
        self,
        transformer: AceStepTransformer1DModel,
        condition: torch.Tensor,
        context: torch.Tensor,
        *,
        null_condition: torch.Tensor | None = None,
        null_context: torch.Tensor | None = None,
        cuda_graphs: bool = False,
        static_shapes: bool = False,
    ) -> None:
        dtype = transformer.dtype
        self._transformer = transformer
        self._condition = condition.to(dtype)
        self._context = context.to(dtype)
        self._graphs = cuda_graphs
        self._padding = Padding.of(transformer, context.shape[1], condition.shape[1]) if static_shapes else None
        self._conditional = self._evaluation(self._condition, self._context, ConditionCache())
        self._both: Evaluate | None = None
        if null_condition is not None:
            null = null_condition.to(self._condition).expand_as(self._condition)
            other = self._context if null_context is None else null_context.to(dtype)
            self._both = self._evaluation(
                torch.cat([self._condition, null]),
                torch.cat([self._context, other]),
                ConditionCache(conditional_rows=len(self._condition)),
            )

    def velocity(self, x: torch.Tensor, t: float, *, corrector: bool = False) -> torch.Tensor:
        """v [B, T, C] of the conditional half, in the dtype of x."""
        return self._run(self._conditional, x, t)

    def velocities(self, x: torch.Tensor, t: float) -> tuple[torch.Tensor, torch.Tensor]:
        """(conditional, unconditional) velocities, each [B, T, C], in one doubled batch."""
        if self._both is None:
            raise ValueError("this denoiser was made without a null condition")
        cond, uncond = self._run(self._both, torch.cat([x, x]), t).chunk(2)
        return cond, uncond

    def _run(self, evaluate: Evaluate, x: torch.Tensor, t: float) -> torch.Tensor:
        dtype = self._transformer.dtype
        time = torch.full((x.shape[0],), t, device=x.device, dtype=dtype)
        return evaluate(x.to(dtype), time).to(x.dtype)

    def _evaluation(self, condition: torch.Tensor, context: torch.Tensor, cache: ConditionCache) -> Evaluate:
        if self._padding is not None:
            return self._padded_evaluation(condition, context, self._padding)

        def evaluate(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            # Once every layer has its keys and values, nothing reads the condition any more.
            cached = len(cache.by_layer) == len(self._transformer.layers)
            with use_condition_cache(cache):
                return self._forward(x, time, condition[:, :1] if cached else condition, context)

        return GraphedEvaluation(evaluate) if self._graphs else evaluate

    def _padded_evaluation(self, condition: torch.Tensor, context: torch.Tensor, padding: Padding) -> Evaluate:
        condition, context = padding.pad_tokens(condition), padding.pad_frames(context)

        def evaluate(x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            with use_masks(padding):
                return self._forward(padding.pad_frames(x), time, condition, context)[:, : padding.frames]

        return evaluate

    @torch.no_grad()
    def _forward(
        self, x: torch.Tensor, time: torch.Tensor, condition: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        (velocity,) = self._transformer(
            hidden_states=x,
            timestep=time,
            timestep_r=time,
            encoder_hidden_states=condition,
            context_latents=context,
            return_dict=False,
        )
        return velocity
