"""COLMAP's number of a pair of images."""

MOST_IMAGES = 2147483647  # image ids are smaller


def pair_id(image0: int, image1: int) -> int:
    """The number of a pair, the same for both orders: smaller image id * MOST_IMAGES + larger image id."""
    return min(image0, image1) * MOST_IMAGES + max(image0, image1)


def pair_images(pair: int) -> tuple[int, int]:
    """The image ids of a pair, the smaller first."""
    return divmod(pair, MOST_IMAGES)
