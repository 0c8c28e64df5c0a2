"""The served model: weights, tokenizer, Llama forward pass and KV cache."""
