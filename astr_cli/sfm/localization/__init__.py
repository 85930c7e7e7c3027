"""New photos in an existing model: where each was taken."""
