"""Training: supervision from rendered geometry, losses, the loop and its checkpoints."""
