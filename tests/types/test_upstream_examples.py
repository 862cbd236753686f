"""Files in the shape of upstream's examples load and run (`benchmarks/upstream_examples.py` takes the real ones)."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "upstream_examples.py"
SONG = {
    "think": True,
    "caption": "An explosive, high-energy pop-rock track. " * 16,
    "lyrics": "[Intro - Brass]\n\n[Verse]\nla",
}
SONG |= {"bpm": 132, "duration": 211, "keyscale": "G# minor", "language": "ja", "timesignature": "4"}


def test_example_files_are_taken_and_others_are_refused_by_name(tmp_path, capsys):
    (tmp_path / "song.json").write_text(json.dumps(SONG), encoding="utf-8-sig")
    (tmp_path / "query.json").write_text(json.dumps({"description": "a soft song", "vocal_language": "bn"}))
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main([str(tmp_path), "--load-only"]) == 0
    assert "simple mode: 1 taken, 0 refused" in capsys.readouterr().out
    (tmp_path / "odd.json").write_text(json.dumps({**SONG, "bpm": 1000}))
    assert main([str(tmp_path), "--load-only"]) == 1
    assert "odd.json: bpm: got 1000" in capsys.readouterr().out
