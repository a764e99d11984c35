-- KEYS: blocks. ARGV: who is blocked.
if repeated() then
  return answer('done')
end
if redis.call('HEXISTS', KEYS[4], ARGV[7]) == 0 then
  return answer('missing')
end
if stale() then
  return answer('stale')
end
append()
redis.call('HDEL', KEYS[4], ARGV[7])
return answer('done')
