"""Edits in a chain, without touching the disk: take the drums out, add a bass, repaint two seconds, go on for four."""

from acestep_like import AceStepHandler, GenerationConfig, GenerationParams, generate_music
from acestep_like.editing import extend, extract, lego, repaint

dit = AceStepHandler.from_pretrained("mini")
params = GenerationParams(caption="funk with drums and keys", bpm=108, keyscale="D minor", duration=10, seed=4)
song = generate_music(dit, None, params, GenerationConfig(batch_size=1)).audios[0]

parts = extract(dit, song, "drums", seed=4)
print([f"{stem['track']}: {stem['level_db']} dB" for stem in parts.extra_outputs["stems"]])

backing = lego(dit, parts.audios[0], "bass", "deep funk bass", seed=4).audios[1]  # the mix; audios[0] is the bass alone
patched = repaint(dit, backing, "a drum fill", (4.0, 6.0), seed=4)
print("untouched outside:", patched.extra_outputs["seams"][0]["untouched_exact"])

result = extend(dit, patched, "the groove goes on", right_s=4.0, seed=4, save_dir="outputs")
print(result.audios[0].path if result.success else result.error)
print("made from:", result.audios[0].params["parents"])
