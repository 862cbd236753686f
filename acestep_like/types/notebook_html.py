"""How results look in a notebook: a player and a waveform per audio, as plain HTML and SVG.

Standard library at import; soundfile (a core dependency) is loaded when a player is drawn.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from acestep_like.types.results import AudioResult, GenerationResult

_WIDTH, _HEIGHT = 640, 64
# libsndfile's lossy encoders work on the stack; whole songs go in in pieces.
_BLOCK_FRAMES = 1 << 15


def result_html(result: GenerationResult) -> str:
    """The status of a result and its audios below each other."""
    if not result.success:
        return f"<p><b>Failed:</b> {html.escape(result.error or result.status_message)}</p>"
    return "".join(audio_html(audio) for audio in result.audios) or "<p>No audio.</p>"


def audio_html(audio: AudioResult) -> str:
    """A caption line, the waveform and a player for one audio; a sentence where its samples are NaN or infinite, at
    which the MP3 encoder would abort the process."""
    facts = [f"seed {audio.params.get('seed', '?')}", f"{audio.duration_s:.1f} s"]
    if audio.params.get("bpm"):
        facts.append(f"{audio.params['bpm']} bpm")
    if audio.params.get("keyscale"):
        facts.append(str(audio.params["keyscale"]))
    if audio.path:
        facts.append(audio.path)
    line = html.escape(" · ".join(facts))
    if bool(audio.tensor.isfinite().all()):
        shown = waveform_svg(audio.tensor) + player(audio)
    else:
        shown = "<p>It has NaN or infinite samples and cannot be played.</p>"
    return f'<div style="margin:0.5em 0"><div><small>{line}</small></div>{shown}</div>'


def player(audio: AudioResult) -> str:
    """An HTML audio element that carries the sound, whose samples are finite, as mp3."""
    data = base64.b64encode(_mp3(audio.tensor, audio.sample_rate)).decode("ascii")
    return f'<audio controls preload="none" style="width:{_WIDTH}px" src="data:audio/mpeg;base64,{data}"></audio>'


def waveform_svg(samples: Any, columns: int = 320) -> str:
    """Peaks of a tensor [C, N] as an SVG drawing; an empty one where there are no samples."""
    frames = samples.shape[-1]
    columns = max(1, min(columns, frames))
    step = -(-frames // columns) if frames else 1
    peaks = [float(samples[:, start : start + step].abs().max()) for start in range(0, frames, step)]
    x_step = _WIDTH / max(len(peaks), 1)
    middle = _HEIGHT / 2
    bars = "".join(
        f"M{(index + 0.5) * x_step:.1f} {middle - height:.1f}v{2 * height:.1f}"
        for index, height in ((index, max(min(peak, 1.0) * middle, 0.3)) for index, peak in enumerate(peaks))
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><path d="{bars}" stroke="currentColor" stroke-width="{x_step * 0.7:.2f}" '
        'fill="none" opacity="0.75"/></svg>'
    )


def _mp3(samples: Any, sample_rate: int) -> bytes:
    import soundfile

    frames = samples.T.clamp(-1, 1).numpy()
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", sample_rate, frames.shape[1], subtype="MPEG_LAYER_III", format="MP3") as file:
        for start in range(0, len(frames), _BLOCK_FRAMES):
            file.write(frames[start : start + _BLOCK_FRAMES])
    return buffer.getvalue()
