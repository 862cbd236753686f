"""Audio to codes to words: what the language model makes of a recording."""

from acestep_like import (
    AceStepHandler,
    GenerationConfig,
    GenerationParams,
    LLMHandler,
    generate_music,
    understand_music,
)

dit = AceStepHandler.from_pretrained("mini")
llm = LLMHandler.from_pretrained("mini")

params = GenerationParams(caption="slow blues with electric guitar", duration=12, seed=3)
song = generate_music(dit, None, params, GenerationConfig(batch_size=1))
codes = dit.convert_src_audio_to_codes(song.audios[0])  # a path works as well

# understand_audio(dit, llm, song.audios[0]) does both steps at once, and detects tempo, key, meter, tracks and a chord
# chart in the sound itself.
described = understand_music(llm_handler=llm, audio_codes=codes, temperature=0.85)
if described.success:
    print(f"caption:  {described.caption}")
    print(f"tempo:    {described.bpm} bpm")
    print(f"key:      {described.keyscale}")
    print(f"length:   {described.duration} s")
    print(f"genre:    {described.genres}")
    print(f"tracks:   {', '.join(described.tracks)}")
    print(f"language: {described.language}")
