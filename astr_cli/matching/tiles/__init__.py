"""`--tiles`: matching large photos again at full size, one pair of tiles at a time."""
