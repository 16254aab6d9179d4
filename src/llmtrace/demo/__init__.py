"""The demo: a support agent of a small shop, and a scripted model that answers it. It needs no API key and no network."""
