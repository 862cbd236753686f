"""Shift moves the steps towards the noisy end. Left out, the checkpoint's own values are used."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(
    caption="upbeat electronic dance music",
    inference_steps=8,
    shift=3.0,
    infer_method="ode",
    duration=10,
)
result = generate_music(dit, llm, params, GenerationConfig(batch_size=2), save_dir="outputs")
print("schedule:", [round(t, 3) for t in result.extra_outputs["timesteps"]])
