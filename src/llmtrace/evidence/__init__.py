"""What the results, failures and calls of a run show, read once for quality signals and diagnosis. Pure."""
