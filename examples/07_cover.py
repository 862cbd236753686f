"""The structure of one recording in another style. The source may be a file, an array or an earlier result."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, LLMHandler, generate_music

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")
one = GenerationConfig(batch_size=1)

original = generate_music(dit, llm, GenerationParams(caption="synth pop", bpm=120, duration=10, seed=1), one)
params = GenerationParams(
    task_type="cover",
    src_audio=original.audios[0],
    caption="orchestral arrangement with strings and brass",
    audio_cover_strength=0.7,
    thinking=True,
    use_cot_metas=True,
)
result = generate_music(dit, llm, params, one, save_dir="outputs")
print(result.audios[0].path if result.success else result.error)

if result.extra_outputs.get("lm_metadata"):  # empty here: with a source, the source decides
    print(result.extra_outputs["lm_metadata"].get("bpm"))
