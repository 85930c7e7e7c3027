"""Photos on disk: their sizes and EXIF, their pixels, and the way between raw and working coordinates. No torch."""
