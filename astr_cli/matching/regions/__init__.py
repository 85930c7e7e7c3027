"""Parts of photos, at other sizes than the whole photos are matched at: what tiles and the second look share."""
