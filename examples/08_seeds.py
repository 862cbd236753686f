"""Four variations with chosen seeds. Three are given; use_random_seed=False makes the fourth the same each time."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(caption="epic cinematic trailer music", duration=10)
config = GenerationConfig(batch_size=4, seeds=[42, 123, 456], use_random_seed=False, lm_batch_chunk_size=2)
result = generate_music(dit, llm, params, config, save_dir="outputs")

if result.success:
    for audio in result.audios:
        print(f"seed {audio['params']['seed']}: {audio['path']}")
