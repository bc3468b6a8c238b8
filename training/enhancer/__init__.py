"""The prompt enhancer's training: data from the design world, SFT and GRPO of an adapter, evaluation."""
