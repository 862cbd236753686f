"""Waveforms in and out: reading any source, levels, file formats and embedded recipes."""
