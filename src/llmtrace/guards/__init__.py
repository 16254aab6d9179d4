"""Guards that stop or hold a run at the program's request: budgets, checkpoints, reviews, objectives, validated answers."""
