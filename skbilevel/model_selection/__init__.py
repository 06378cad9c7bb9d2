"""From data to problems: folds, criteria, candidates, and the choice among them."""
