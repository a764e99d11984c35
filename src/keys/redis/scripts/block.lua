-- KEYS: blocks. ARGV: who is blocked, and how. Done twice, it would bring back what was lifted in between.
if repeated() then
  return answer('done')
end
if stale() then
  return answer('stale')
end
append()
redis.call('HSET', KEYS[4], ARGV[7], ARGV[8])
return answer('done')
