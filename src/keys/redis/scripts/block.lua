-- KEYS: blocks. ARGV: who is blocked, and how. Done twice, it would bring back what was lifted in between.
if repeated() then
  return answer('done')
end
if stale() then
  return answer('stale')
end
append()
redis.call('HSET', KEYS[5], ARGV[8], ARGV[9])
return answer('done')
