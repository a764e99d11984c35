-- KEYS: record. ARGV: the policy's text as it is thought to be, and as it is to be. No text is an empty policy.
if repeated() then
  return answer('done')
end
if redis.call('EXISTS', KEYS[4]) == 0 then
  return answer('missing')
end
local held = redis.call('HGET', KEYS[4], 'policy') or '{}'
if held ~= ARGV[7] then
  return answer('otherwise', nil, held)
end
if stale() then
  return answer('stale')
end
append()
redis.call('HSET', KEYS[4], 'policy', ARGV[8])
return answer('done')
