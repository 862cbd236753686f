"""A schedule of one's own: where on the way from noise (1) to music (0) the steps lie."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(
    caption="jazz fusion with rich harmonies",
    timesteps=[0.97, 0.76, 0.615, 0.5, 0.395, 0.28, 0.18, 0.085, 0],
    duration=10,
    thinking=True,
)
result = generate_music(dit, llm, params, GenerationConfig(batch_size=1), save_dir="outputs")
print("schedule:", result.extra_outputs["timesteps"])
