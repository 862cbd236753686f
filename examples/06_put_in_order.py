"""Rough words in, a caption, tagged lyrics and metadata out; then music without planning again."""

from acestep_like import (
    AceStepHandler,
    GenerationConfig,
    GenerationParams,
    LLMHandler,
    format_sample,
    generate_music,
)

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

formatted = format_sample(
    llm_handler=llm,
    caption="rock ballad",
    lyrics="[Verse]\nUnder a broken streetlight I wait",
    user_metadata={"bpm": 76},
)
if formatted.success:
    params = GenerationParams(
        caption=formatted.caption,
        lyrics=formatted.lyrics,
        bpm=formatted.bpm,
        duration=12,
        keyscale=formatted.keyscale,
        thinking=True,
        use_cot_metas=False,
    )
    result = generate_music(dit, llm, params, GenerationConfig(batch_size=2), save_dir="outputs")
    print([audio.path for audio in result.audios] if result.success else result.error)
