-- KEYS: record, list of all. ARGV: the policy's text as it is thought to be, and as it is to be; the key's hash,
-- its instance, and its mark from then on. No text is an empty policy.
local record, all = KEYS[5], KEYS[6]
local from, to, key, instance, new = unpack(ARGV, 8, 12)
if repeated() then
  return answer('done')
end
if redis.call('EXISTS', record) == 0 then
  return answer('missing')
end
local held = redis.call('HGET', record, 'policy') or '{}'
if held ~= from then
  return answer('otherwise', nil, held)
end
if stale() then
  return answer('stale')
end
append()
redis.call('HSET', record, 'policy', to)
if redis.call('HEXISTS', record, 'revoked_at') == 0 then
  mark(all, record, key, instance, new)
end
return answer('done')
