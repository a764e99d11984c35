-- Waits no more for processes that have not renewed since they were looked at: their leases are over. When that
-- was is kept for a while, by the store's clock, because session tokens are accepted without a lease.
-- KEYS: replicas. ARGV: a process and how far it had come, again and again.
local now = redis.call('TIME')[1]
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('HSET', KEYS[1], ARGV[i], 'away ' .. now)
  end
end
for _, replica in ipairs(redis.call('HKEYS', KEYS[1])) do
  local since = string.match(redis.call('HGET', KEYS[1], replica), '^away (%d+)$')
  if since and tonumber(now) - tonumber(since) > 1800 then
    redis.call('HDEL', KEYS[1], replica)
  end
end
return 0
