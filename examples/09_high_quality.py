"""More steps, stronger guidance, a lossless file. (For the published base checkpoint: 64 steps and use_adg=True.)"""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(
    caption="intricate jazz fusion",
    inference_steps=40,
    guidance_scale=4.0,
    use_adg=True,
    cfg_interval_start=0.0,
    cfg_interval_end=1.0,
    shift=2.0,
    seed=42,
    duration=10,
)
config = GenerationConfig(batch_size=1, use_random_seed=False, audio_format="wav")
result = generate_music(dit, llm, params, config, save_dir="outputs")
print(result.audios[0].path if result.success else result.error)
