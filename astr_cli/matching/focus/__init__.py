"""`--focus auto`: a second look at the part that both photos show, at a size at which things look equally large."""
