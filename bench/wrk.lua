-- What skep's benchmark reads of a run, in one line: requests, requests a second, p50, p99 and p99.9 in milliseconds.
done = function(summary, latency)
  local ms = function(share) return latency:percentile(share) / 1000 end
  print(string.format("measured %d %f %f %f %f", summary.requests, summary.requests / summary.duration * 1e6,
    ms(50), ms(99), ms(99.9)))
end
