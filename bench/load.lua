-- What wrk sends: a POST of the file that is named behind `--`, a GET for `-`; and its figures as one line of JSON.
function init(args)
    wrk.headers["User-Agent"] = "curl/8.0"
    wrk.headers["Accept"] = "*/*"
    if args[1] ~= "-" then
        wrk.method = "POST"
        wrk.headers["Content-Type"] = "application/json"
        local file = io.open(args[1])
        wrk.body = file:read("*a")
        file:close()
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\nFIGURES {"requests": %d, "microseconds": %d, "p50": %.1f, "p99": %.1f, "errors": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
