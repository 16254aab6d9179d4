"""Guards, which the program sets: budgets, checkpoints, reviews, latency objectives, validated answers."""
