"""Facts about the results, failures and calls of a run, read once for quality signals and diagnosis. Pure."""
