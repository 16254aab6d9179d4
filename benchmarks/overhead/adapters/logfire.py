import importlib

VENV = "logfire"
LABEL = "logfire"


def _lf():
    return importlib.import_module("logfire")


def setup(sink):
    from . import _otelsink

    lf = _lf()
    lf.configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[_otelsink.processor(sink)],
    )
    lf.instrument_openai()


def decorate(fn, kind):
    return _lf().instrument(record_return=True)(fn)


def flush():
    _lf().force_flush()


def spans():
    from . import _otelsink

    return _otelsink.dump()
