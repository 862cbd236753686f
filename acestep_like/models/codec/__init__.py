"""Waveforms to latents and back: one contract over every autoencoder that a checkpoint may carry."""
