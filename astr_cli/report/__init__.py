"""Pages to look at: a report of a model, and what the network looked at."""
