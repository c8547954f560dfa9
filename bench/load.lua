-- One prepared body after another, for wrk.
local bodies, n = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local headers = { ["content-type"] = "application/json", ["authorization"] = os.getenv("AUTHORIZATION") }
function request()
  n = n % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[n])
end
function done(summary, latency, _)
  local out = io.open(os.getenv("RESULT"), "w")
  out:write(string.format('{"requests":%d,"micros":%d,"errors":%d,"p50":%d,"p95":%d,"p99":%d}', summary.requests,
    summary.duration, summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99)))
  out:close()
end
