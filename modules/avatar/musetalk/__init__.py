"""MuseTalk 1.0 and 1.5: the lower half of the face is painted in one step in the latent space of an image VAE."""
