"""Trains the RGBA VAE (report 3.2): `python -m training.vae --out runs/nano/vae --export weights/nano`."""
