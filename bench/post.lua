-- Posts one question over and over, and prints one line of figures for gateway.py.
wrk.method = "POST"
wrk.body = '{"prompt":"How do I activate roaming?"}'

function done(summary, latency, _)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    print(string.format("RESULT %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
