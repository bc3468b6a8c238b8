"""The VAE service: pictures to latents and back."""
