-- KEYS: errand, errands that are due, errands that are over. ARGV: when it is due, or was over; its state; then
-- its fields.
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
local to, from = KEYS[2], KEYS[3]
if ARGV[2] ~= 'pending' then
  to, from = from, to
end
redis.call('ZADD', to, ARGV[1], KEYS[1])
redis.call('ZREM', from, KEYS[1])
return 0
