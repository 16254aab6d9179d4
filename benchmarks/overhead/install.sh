#!/usr/bin/env bash
# Makes one virtual environment a library under $BENCH_HOME/v (default: ~/.cache/llmtrace-bench). `install.sh NAME…` makes only those.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${BENCH_HOME:-$HOME/.cache/llmtrace-bench}
mkdir -p "$home/v"

install() {
    name=$1
    shift
    [ -z "$wanted" ] || case " $wanted " in *" $name "*) ;; *) return 0 ;; esac
    python3 -m venv "$home/v/$name"
    "$home/v/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    echo "$name: installed"
}

wanted=$*
otlp=opentelemetry-exporter-otlp-proto-http
install llmtrace --editable "$here/../.." openai $otlp
install otel openai opentelemetry-sdk $otlp
install otelv2 openai httpx opentelemetry-instrumentation-openai-v2 opentelemetry-util-genai==1.0b0 opentelemetry-sdk $otlp
install otelgenai openai opentelemetry-instrumentation-genai-openai opentelemetry-util-genai opentelemetry-sdk $otlp
install openinference openai openinference-instrumentation-openai $otlp
install openllmetry openai opentelemetry-instrumentation-openai $otlp
install logfire openai logfire
install langfuse openai langfuse
