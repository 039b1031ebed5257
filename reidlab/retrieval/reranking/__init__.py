"""Re-ranking: better distances from the neighbours or the cameras of images, without training."""
