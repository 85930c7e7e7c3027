"""`astr adapt`: weights trained further on the photos of one place."""
