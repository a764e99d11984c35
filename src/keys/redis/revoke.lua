-- KEYS: index by id, then every record in it. ARGV: when, by whom.
-- Returns 0, and does nothing, where the index has other records than were given. The first revocation stays.
local known = redis.call('HLEN', KEYS[1])
  - redis.call('HEXISTS', KEYS[1], 'revoked_at') - redis.call('HEXISTS', KEYS[1], 'revoked_by')
if known ~= #KEYS - 1 then
  return 0
end
for place, name in ipairs(KEYS) do
  if (place == 1 or redis.call('EXISTS', name) == 1) and redis.call('HSETNX', name, 'revoked_at', ARGV[1]) == 1 then
    redis.call('HSET', name, 'revoked_by', ARGV[2])
  end
end
return 1
