"""The 5 Hz language model: prompts, grammar, sampling, backends."""
