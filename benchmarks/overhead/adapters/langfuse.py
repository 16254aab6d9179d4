"""langfuse: its patched OpenAI client for calls of the model, ``observe`` for tools and workflows."""

VENV = "langfuse"
LABEL = "langfuse"
lf = None


def setup(sink):
    global lf
    import langfuse
    import langfuse.openai  # patches the client

    from . import _otelsink

    lf = langfuse.Langfuse(
        public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9", span_exporter=_otelsink.exporter(sink)
    )


def decorate(fn, kind):
    from langfuse import observe

    return observe(as_type="tool")(fn) if kind == "tool" else observe()(fn)


def flush():
    lf.flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
