"""Photos on disk: their sizes and EXIF, their pixels, and the way between raw and matched coordinates. No torch."""
