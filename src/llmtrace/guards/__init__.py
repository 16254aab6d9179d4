"""What may stop or hold a run, each because the program asked for it."""
