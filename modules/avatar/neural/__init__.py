"""What all engines have in common whose network redraws a crop of the face: wav2lip, musetalk, ultralight."""
