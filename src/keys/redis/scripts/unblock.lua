-- KEYS: blocks. ARGV: who is blocked.
if repeated() then
  return answer('done')
end
if redis.call('HEXISTS', KEYS[5], ARGV[8]) == 0 then
  return answer('missing')
end
if stale() then
  return answer('stale')
end
append()
redis.call('HDEL', KEYS[5], ARGV[8])
return answer('done')
