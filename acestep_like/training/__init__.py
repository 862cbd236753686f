"""The recipe of the mini model: corpus, codec, tokenizer, DiT and language model. Inference never imports it."""
