"""The demo: a support agent of a small shop, and a scripted model for it to talk to. It needs no key and no network."""
