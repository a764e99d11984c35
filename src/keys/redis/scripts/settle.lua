-- KEYS: errand, errands that are due, errands that are over. ARGV: when it is due, or was over; its state; and a
-- note where there is one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'due', ARGV[1], 'state', ARGV[2])
if ARGV[3] then
  redis.call('HSET', KEYS[1], 'note', ARGV[3])
else
  redis.call('HDEL', KEYS[1], 'note')
end
local to, from = KEYS[2], KEYS[3]
if ARGV[2] ~= 'pending' then
  to, from = from, to
end
redis.call('ZADD', to, ARGV[1], KEYS[1])
redis.call('ZREM', from, KEYS[1])
return 0
