"""Facts about the calls, results and failures of a run, shared by quality signals and diagnosis. No side effects."""
