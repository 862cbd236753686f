"""From one sentence to a sample (caption, lyrics, metadata), and from the sample to music."""

from acestep_like import (
    AceStepHandler,
    GenerationConfig,
    GenerationParams,
    LLMHandler,
    create_sample,
    generate_music,
)

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

sample = create_sample(llm_handler=llm, query="an energetic dance track with a catchy hook", vocal_language="ko")
if sample.success:
    print(f"{sample.caption} ({sample.bpm} bpm, {sample.keyscale}, {sample.duration} s)")
    params = GenerationParams(
        caption=sample.caption,
        lyrics=sample.lyrics,
        bpm=sample.bpm,
        duration=min(sample.duration or 10, 12),
        keyscale=sample.keyscale,
        vocal_language=sample.language or "unknown",
        thinking=True,
    )
    result = generate_music(dit, llm, params, GenerationConfig(batch_size=1), save_dir="outputs")
    print(result.audios[0].path if result.success else result.error)
