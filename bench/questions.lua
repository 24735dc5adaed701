-- Questions that do not repeat, for wrk: each thread counts from a seed of its own. KEY is empty when the agent is called directly.
local openings = {
    "How do I activate roaming for a trip of %d days?",
    "What does plan number %d cost a month?",
    "My phone was stolen %d minutes ago, what now?",
    "Can I keep my old number that ends in %d?",
    "Why is my bill %d euros higher than last month?",
    "How do I set up voicemail on phone model %d?",
    "Is there 5G at postcode %d?",
    "How can I top up %d euros of credit?",
}
local key = os.getenv("KEY") or ""
local count = tonumber(os.getenv("SEED") or "0")

function request()
    count = count + 1
    local question = string.format(openings[count % #openings + 1], count)
    local headers = { ["Content-Type"] = "application/json" }
    if key ~= "" then headers["x-api-key"] = key end
    return wrk.format("POST", nil, headers, '{"prompt": "' .. question .. '"}')
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format("RESULT %d %d %.1f %.1f %d", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
