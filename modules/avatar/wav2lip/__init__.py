"""Wav2Lip in its three published sizes: a crop of the face in, the same crop with lips that speak out."""
